"""Conversion of PIL images and arrays to RGB pixels, by the rules of the decoder."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from allmlp.data.decoding.decode import decode, is_decodable
from allmlp.data.decoding.image_headers import exif_orientation
from allmlp.data.decoding.limits import MAX_PHOTO_BYTES, check_size
from allmlp.data.decoding.reasons import UnusablePhotoError, advice_of, decoding_reason
from allmlp.data.decoding.rgb import rgb_pixels, upright
from allmlp.errors import DataError
from allmlp.io.display import escape

__all__ = ["to_pixels"]

_ORIENTATION = 0x0112  # the EXIF tag


def to_pixels(image: Image.Image | NDArray[np.uint8], *, name: str) -> NDArray[np.uint8]:
    """Return the upright RGB pixels of a PIL image, or an array (height, width, 3) itself: uint8, within the decoder's limits.

    Transparency, 16-bit samples and EXIF orientation are handled as by `decode`. An image whose file PIL has opened but not
    yet read is also decoded by `decode`, because PIL does not notice every incomplete file.

    Raises:
        DataError: a mode without a declared range, a file that PIL opened lazily and cannot read, an array of another shape
            or dtype, or a size beyond the limits; the message starts with `name`.
    """
    if isinstance(image, Image.Image):
        try:
            content = _content_of(image)
            pixels = _from_pil(image)  # PIL reads and closes the file
        except Exception as error:  # a lazily opened file is decoded here; each format raises its own errors
            raise _refusal(name, "PIL image", error) from error
        return pixels if content is None else decode(content, name=name)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise DataError(
            f"{escape(name)}: the array has shape {image.shape} and dtype {image.dtype}; "
            "expected (height, width, 3), uint8, RGB. Other arrays are not converted."
        )
    try:
        check_size((image.shape[1], image.shape[0]))
    except UnusablePhotoError as error:
        raise _refusal(name, "array", error) from error
    return image


def _refusal(name: str, what: str, error: Exception) -> DataError:
    advice = advice_of(error, "Open its file with another program, and save it again")
    return DataError(f"{escape(name)}: this {what} cannot be used: {decoding_reason(error)}. {advice}.")


def _content_of(image: Image.Image) -> bytes | None:
    """Return the bytes of the file of an image that PIL has not read yet; None if `decode` would not return this image.

    That is the case for other formats, later frames, and a size that `Image.draft` has reduced.
    """
    if not isinstance(image, ImageFile) or not image.tile or image.tell() or image.decoderconfig:
        return None
    if image.fp is None or not image.fp.seekable():
        return None
    position = image.fp.tell()
    try:
        image.fp.seek(0)
        content: bytes = image.fp.read(MAX_PHOTO_BYTES + 1)
    finally:
        image.fp.seek(position)
    return content if is_decodable(content) else None


def _from_pil(image: Image.Image) -> NDArray[np.uint8]:
    check_size(image.size)
    orientation = _orientation(image)
    return upright(rgb_pixels(image), orientation)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, that a file's pixels still need; a TIFF's are turned as they are read."""
    if isinstance(image, TiffImageFile):
        return 1
    exif = image.info.get("exif")
    if isinstance(exif, bytes) and exif:
        return exif_orientation(exif)
    if isinstance(image, ImageFile):
        return 1  # Pillow would look into XMP too, which decoding a file does not
    return int(image.getexif().get(_ORIENTATION, 1))
