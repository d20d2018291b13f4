"""`decode`, the only decoder: from the bytes of a photo to RGB pixels, the same wherever a photo is read.

Formats are recognised by content, and only the six below are ever opened, each by its own Pillow reader, so that no other
plugin or external program is started. Sizes are checked before pixels are allocated. A photo decodes completely or is
refused: missing parts are not filled with grey. Pillow's global settings are neither read nor changed, so that threads can
decode concurrently.

A flipped bit in compressed JPEG data may decode without an error; only an external checksum could detect it.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from allmlp.data.decoding.image_headers import SanitisedImage, sanitise_jpeg, sanitise_png, sanitise_webp
from allmlp.errors import DataError
from allmlp.io.display import escape
from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file

__all__ = ["MAX_PHOTO_BYTES", "MAX_PIXELS", "MAX_SIDE", "check_size", "decode", "to_rgb"]

MAX_PIXELS = 50_000_000  # above the default of every phone; 150 MB decoded
MAX_PHOTO_BYTES = 4 * MAX_PIXELS  # an uncompressed RGBA photo of MAX_PIXELS
MAX_SIDE = 65_535  # the maximum of JPEG


class _Format(NamedTuple):
    reader: Callable[[BytesIO], ImageFile]
    sanitise: Callable[[bytes], SanitisedImage] | None  # None: Pillow itself reads the size before any pixel


_FORMATS: Mapping[FileKind | None, _Format] = {
    FileKind.JPEG: _Format(JpegImageFile, sanitise_jpeg),  # MPO too: its first image
    FileKind.PNG: _Format(PngImageFile, sanitise_png),
    FileKind.WEBP: _Format(WebPImageFile, sanitise_webp),
    FileKind.GIF: _Format(GifImageFile, None),
    FileKind.BMP: _Format(BmpImageFile, None),
    FileKind.TIFF: _Format(TiffImageFile, None),
}
_ACCEPTED = "JPEG, PNG, WebP, GIF, BMP or TIFF"

# As in PIL.ImageOps.exif_transpose: from the stored pixels to the upright photo.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(content: bytes, *, name: str) -> NDArray[np.uint8]:
    """Return the upright RGB pixels of an encoded photo as uint8 (height, width, 3).

    Only the first frame or page is decoded. 16-bit samples are reduced to their high byte, transparency is composited on white,
    and CMYK is converted by Pillow. EXIF orientation is applied; broken EXIF data and colour profiles are ignored.

    Raises:
        DataError: not one of the six formats, truncated, damaged, or beyond the limits; the message starts with `name`.
    """
    try:
        return _decode(content)
    except DataError:
        raise
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error, IndexError and others
        raise DataError(
            f"{escape(name)}: {_reason(error)}. Replace or remove this file (photos are {_ACCEPTED})."
        ) from error


def _decode(content: bytes) -> NDArray[np.uint8]:
    if not content:
        raise ValueError("the file is empty")
    if len(content) > MAX_PHOTO_BYTES:
        raise ValueError(f"the file has {len(content):,} bytes; the limit is {MAX_PHOTO_BYTES:,}")
    kind = kind_of_file(content[:START_BYTES])
    photo_format = _FORMATS.get(kind)
    if photo_format is None:
        advice = " (run `git lfs pull`)" if kind is FileKind.GIT_LFS else ""
        raise ValueError(f"this is {kind or 'an unknown kind of file'}{advice}, not a photo that can be decoded")
    orientation = 1
    if photo_format.sanitise is not None:
        content, size, orientation = photo_format.sanitise(content)
        check_size(size)
    with photo_format.reader(BytesIO(content)) as image:
        check_size(image.size)
        if isinstance(image, TiffImageFile):
            _check_tiles(image)
        rgb = to_rgb(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.array(rgb)


def check_size(size: tuple[int, int]) -> None:
    """Check (width, height) against the limits. Raises ValueError."""
    width, height = size
    if width < 1 or height < 1:
        raise ValueError(f"its size is {width} x {height} pixels")
    if max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ValueError(
            f"it has {width} x {height} pixels; the limit is {MAX_PIXELS:,} in total and {MAX_SIDE:,} per side"
        )


def _check_tiles(image: TiffImageFile) -> None:
    # libtiff decompresses whole tiles, even if only a small part is inside the photo.
    width, height = (image.tag_v2.get(tag) for tag in (322, 323))  # TileWidth, TileLength
    if isinstance(width, int) and isinstance(height, int) and width * height > MAX_PIXELS:
        raise ValueError(f"its tiles have {width} x {height} pixels; the limit is {MAX_PIXELS:,}")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB: transparency on white, 16-bit samples by their high byte. Raises ValueError if 32-bit."""
    inverted, bits = False, 16
    if isinstance(image, TiffImageFile):
        inverted = image.tag_v2.get(262) == 0  # PhotometricInterpretation: white is zero
        bits = image.tag_v2.get(258, (16,))[0]
    image.load()  # for a TIFF, this applies the orientation
    if image.mode.startswith("I;16"):
        return _from_16_bit(image, bits=bits, inverted=inverted)
    if image.mode in ("I", "F"):
        raise ValueError("it has 32-bit samples without a declared range; save it with 8 or 16 bits")
    if not image.has_transparency_data:
        return image.convert("RGB")
    return _on_white(image.convert("RGBA"))


def _from_16_bit(image: Image.Image, *, bits: int, inverted: bool) -> Image.Image:
    # The high byte, as Pillow does for 16-bit colour: grey must decode to the same pixels whether saved as grey or as RGB.
    samples = np.asarray(image)
    pixels = (samples >> (bits - 8)).astype(np.uint8)
    if inverted:
        pixels = 255 - pixels
    transparent = image.info.get("transparency")  # PNG: the grey level that is transparent
    if isinstance(transparent, int):
        pixels[samples == transparent] = 255
    return Image.fromarray(pixels).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image)
    return canvas


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there was not enough memory to decode it"
    text = escape(error).strip().rstrip(".")
    if isinstance(error, ValueError | OSError) and text:
        return text
    return f"the file is damaged ({text or type(error).__name__})"
