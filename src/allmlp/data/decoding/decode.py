"""`decode`, the only decoder: from the bytes of a photo to RGB pixels, the same wherever a photo is read.

Formats are recognised by content, and only those below are ever opened, each by its own Pillow reader, so that no other
plugin or external program is started. Sizes are checked before pixels are allocated. A photo decodes completely or is
refused: missing parts are not filled with grey. Pillow's global settings are neither read nor changed, so that threads can
decode concurrently.

A flipped bit in compressed JPEG data may decode without an error; only an external checksum could detect it.
"""

import contextlib
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
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
from PIL.WebPImagePlugin import WebPImageFile

from allmlp.data.decoding.bmp import check_bmp
from allmlp.data.decoding.image_headers import SanitisedImage, exif_orientation, sanitise_webp
from allmlp.data.decoding.jpeg import VerifiedJpeg, sanitise_jpeg, verified_jpeg
from allmlp.data.decoding.limits import MAX_PHOTO_BYTES, check_size, reserve_pixels
from allmlp.data.decoding.more_formats import HEIC_KINDS, INSTALL_HEIC, has_heic, is_read, open_heic_or_avif
from allmlp.data.decoding.png import check_png_rows, sanitise_png
from allmlp.data.decoding.quietly import quietly
from allmlp.data.decoding.reasons import (
    PhotoError,
    UnusablePhotoError,
    advice_of,
    decoding_reason,
    fault_of,
    raise_shortage,
)
from allmlp.data.decoding.rgb import (
    averaged,
    averaged_pixels,
    is_plain_rgb,
    rgb_pixels,
    stored_box,
    upright,
    upright_size,
)
from allmlp.data.decoding.tiff import (
    StoredTiffFile,
    check_tiff,
    check_tiff_directory,
    fax_probes,
    is_fax,
    jpeg_pieces,
)
from allmlp.io.display import escape
from allmlp.io.file_kinds import PHOTO_FORMATS, START_BYTES, FileKind, kind_of_file

__all__ = ["Box", "DecodedPhoto", "PartOfPhoto", "decode", "decode_part", "decode_small", "is_decodable"]

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""

_READERS: Mapping[FileKind | None, Callable[[BytesIO], ImageFile]] = {
    FileKind.JPEG: JpegImageFile,  # MPO too: its first image
    FileKind.PNG: PngImageFile,
    FileKind.WEBP: WebPImageFile,
    FileKind.GIF: GifImageFile,
    FileKind.BMP: BmpImageFile,
    FileKind.TIFF: StoredTiffFile,
    FileKind.HEIC: partial(open_heic_or_avif, FileKind.HEIC),
    FileKind.AVIF: partial(open_heic_or_avif, FileKind.AVIF),
}
_SANITISERS: Mapping[FileKind | None, Callable[[bytes], SanitisedImage]] = {
    FileKind.JPEG: sanitise_jpeg,
    FileKind.PNG: sanitise_png,
    FileKind.WEBP: sanitise_webp,
}  # for the others, Pillow itself reads the size before any pixel
_REPLACE = f"Replace or remove this file (photos are {PHOTO_FORMATS})"
_NOT_COVERED = "the {} is cut short: its data do not cover the picture"
_SCALES = (8, 4, 2)  # by which libjpeg reduces while it decodes, as Pillow offers them
_MIN_GAP = 2  # pixels per pixel of the result that a reduction leaves, as in `Image.thumbnail` (reducing_gap=2.0)
_FILTER_REACH = 2  # pixels of the result that a bicubic filter reaches
_NOISY = (FileKind.GIF, FileKind.TIFF, *HEIC_KINDS)  # Pillow's readers warn about their headers


class DecodedPhoto(NamedTuple):
    """Upright RGB pixels, uint8, whole (height, width, 3) or averaged to a square, and what is known of the photo.

    `size` is the (width, height) of the whole photo, upright; `mode` and `orientation` are how it is stored: Pillow's mode, and
    EXIF's orientation, 1 to 8.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    mode: str
    orientation: int


class PartOfPhoto(NamedTuple):
    """A photo decoded for one box: RGB in its stored orientation, possibly reduced or without its last rows.

    `box` is where the box is in `image`; what is scaled from it still has to be turned upright by `orientation`.
    """

    image: Image.Image
    box: Box
    orientation: int


def decode(content: bytes, *, name: str, is_checked: bool = False) -> NDArray[np.uint8]:
    """Return the upright RGB pixels of an encoded photo as uint8 (height, width, 3).

    Only the first frame or page is decoded. 16-bit samples are reduced to their high byte, transparency is composited on white,
    and CMYK is converted by Pillow. EXIF orientation is applied; broken EXIF data and colour profiles are ignored.

    To find out whether the data of a progressive or small JPEG cover its picture, it is decoded twice (jpeg.py); once if these
    bytes are known to be whole because they were decoded before (`is_checked`).

    Raises:
        PhotoError: not one of the formats, truncated, damaged, or beyond the limits; the message starts with `name`.
        ShortageError: a PhotoError of a photo that may be whole: there is not enough memory.
    """
    return _decode(content, name=name, is_checked=is_checked, side=None).pixels


def decode_small(content: bytes, *, name: str, side: int) -> DecodedPhoto:
    """Decode a photo completely, and return it averaged to (side, side, 3), mostly without a copy of all its pixels.

    Raises:
        PhotoError: as `decode`.
    """
    return _decode(content, name=name, is_checked=False, side=side)


def decode_part(
    content: bytes, *, name: str, box_of: Callable[[tuple[int, int]], Box], image_size: tuple[int, int]
) -> PartOfPhoto:
    """Decode a photo that was decoded before, but only as far as scaling one box of it to `image_size` needs.

    Of a JPEG, rows far below the box are not decoded, and libjpeg reduces the photo to a half, a quarter or an eighth where
    this leaves at least two pixels per pixel of the result along each side (`_MIN_GAP`). Without such a reduction, the pixels
    in the box and around it, as far as Pillow's filters reach, are those of `decode`.

    Args:
        content: the bytes of a photo that `decode` has accepted before.
        name: the photo's name in messages.
        box_of: the box, from the (width, height) of the upright photo.
        image_size: the (height, width) of the upright result.

    Raises:
        PhotoError: as `decode`.
    """
    jpeg = None
    if kind_of_file(content[:START_BYTES]) is FileKind.JPEG:
        with _named_errors(name):
            jpeg = verified_jpeg(content)
            if jpeg is not None:
                return _part_of_jpeg(jpeg, box_of, image_size)
    pixels = decode(content, name=name, is_checked=True)
    return PartOfPhoto(Image.fromarray(pixels), box_of((pixels.shape[1], pixels.shape[0])), 1)


def _part_of_jpeg(
    jpeg: VerifiedJpeg, box_of: Callable[[tuple[int, int]], Box], image_size: tuple[int, int]
) -> PartOfPhoto:
    check_size(jpeg.size)
    size = upright_size(jpeg.size, jpeg.orientation)
    box = stored_box(box_of(size), size, jpeg.orientation)
    width, height = upright_size((image_size[1], image_size[0]), jpeg.orientation)
    gaps = (box[2] - box[0]) / width, (box[3] - box[1]) / height  # stored pixels per pixel of the result
    scale = next((scale for scale in _SCALES if min(gaps) >= _MIN_GAP * scale), 1)
    reach = _FILTER_REACH * max(gaps[1], scale)
    image = JpegImageFile(BytesIO(jpeg.content(math.ceil(box[3] + reach))))
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    image.decodermaxblock = sum(map(len, jpeg.rest))  # read at once
    with reserve_pixels(image.width * image.height):
        image.load()
        rgb = image if image.mode == "RGB" else image.convert("RGB")
    left, top, right, bottom = (edge / scale for edge in box)
    return PartOfPhoto(rgb, (left, top, min(right, rgb.width), min(bottom, rgb.height)), jpeg.orientation)


def _decode(content: bytes, *, name: str, is_checked: bool, side: int | None) -> DecodedPhoto:
    with _named_errors(name):
        return _decoded(content, is_checked=is_checked, side=side)


@contextlib.contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """Turn any error of a photo into a PhotoError that names it."""
    try:
        yield
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error, IndexError and others
        raise_shortage(error, where=escape(name))
        own_advice = advice_of(error, "")
        reason = f"{decoding_reason(error)}."
        problem = reason + (f" {own_advice}." if own_advice else "")
        advice = "" if own_advice else f" {_REPLACE}."
        message = f"{escape(name)}: {problem}{advice}"
        raise PhotoError(message, problem=problem, reason=reason, fault=fault_of(error)) from error


def is_decodable(content: bytes) -> bool:
    """Return whether a file is of a format that `decode` reads here, whole or not."""
    return is_read(kind_of_file(content[:START_BYTES]))


def _decoded(content: bytes, *, is_checked: bool, side: int | None) -> DecodedPhoto:
    kind = _kind_of_photo(content)
    sanitise = _SANITISERS.get(kind)
    orientation, probes = 1, []
    if sanitise is not None:
        content, size, orientation, probe = sanitise(content)
        probes = [probe] if probe is not None else []
        check_size(size)
    elif kind is FileKind.TIFF:
        check_tiff_directory(content)
    with quietly() if kind in _NOISY else contextlib.nullcontext():
        opened = _READERS[kind](BytesIO(content))
    with opened as image:
        check_size(image.size)
        mode = image.mode  # before a palette is applied
        if isinstance(image, BmpImageFile):
            check_bmp(image, len(content))
        elif isinstance(image, StoredTiffFile):
            check_tiff(image, len(content))
            orientation = image.orientation()
            if not is_checked:
                _check_jpeg_pieces(image, content)
        with reserve_pixels(image.size[0] * image.size[1] * (2 if kind is FileKind.WEBP else 1)):
            if kind is FileKind.PNG:
                check_png_rows(content)
            if isinstance(image, StoredTiffFile) and is_fax(image):
                probes = fax_probes(image, content)
            expected = {_digest_of(_READERS[kind], probe) for probe in probes if not is_checked}
            if side and mode == "RGB" and not expected and is_plain_rgb(image):
                pixels = averaged(image, side)
            else:
                pixels = rgb_pixels(image)
                if expected and expected - {_digest(pixels)}:
                    raise UnusablePhotoError(_NOT_COVERED.format("JPEG" if kind is FileKind.JPEG else "TIFF"))
                pixels = averaged_pixels(pixels, side) if side else pixels
    if kind is FileKind.AVIF:
        orientation = exif_orientation(image.info.get("exif", b""))
    return DecodedPhoto(upright(pixels, orientation), upright_size(image.size, orientation), mode, orientation)


def _kind_of_photo(content: bytes) -> FileKind:
    if not content:
        raise UnusablePhotoError("the file is empty", fault="format")
    if len(content) > MAX_PHOTO_BYTES:
        raise UnusablePhotoError(
            f"the file has {len(content):,} bytes; the limit is {MAX_PHOTO_BYTES:,}", fault="limit"
        )
    kind = kind_of_file(content[:START_BYTES])
    if kind is None or kind not in _READERS:
        advice = {FileKind.GIT_LFS: "Run `git lfs pull`", FileKind.ZIP: "Unpack it, and give its folder"}
        raise UnusablePhotoError(
            f"this is {kind or 'an unknown kind of file'}, not a photo that can be decoded",
            advice=advice.get(kind) if kind else None,
            fault="format",
        )
    if kind in HEIC_KINDS and not has_heic():
        raise UnusablePhotoError(
            f"this is {kind}", advice=f"To read it, {INSTALL_HEIC}; or save it as JPEG", fault="format"
        )
    return kind


def _check_jpeg_pieces(image: StoredTiffFile, content: bytes) -> None:
    """Check that the strips or tiles of a JPEG-compressed TIFF are whole, as JPEG files are; libtiff fills them with grey."""
    for piece in jpeg_pieces(image, content):
        try:
            sanitised = sanitise_jpeg(piece.data)
        except UnusablePhotoError as error:
            raise UnusablePhotoError(
                f"the TIFF is damaged: in one of its strips or tiles, {error}", fault=error.fault
            ) from error
        if any(not a <= b <= c for a, b, c in zip(piece.size, sanitised.size, piece.largest, strict=True)):
            raise UnusablePhotoError("the TIFF is damaged: its strips or tiles have other sizes than its header says")
        if image.mode == "LA":
            continue  # Pillow reads no JPEG of two components by itself
        pixels = _digest_of(JpegImageFile, sanitised.content)
        if sanitised.probe is not None and pixels != _digest_of(JpegImageFile, sanitised.probe):
            raise UnusablePhotoError(_NOT_COVERED.format("JPEG"))


def _digest_of(reader: Callable[[BytesIO], ImageFile], content: bytes) -> int:
    # Only a digest is kept, so that memory never holds two pictures.
    with reader(BytesIO(content)) as image:
        return _digest(rgb_pixels(image))


def _digest(pixels: NDArray[np.uint8]) -> int:
    return zlib.adler32(pixels.data)
