"""Photos that are decoded already, PIL images and arrays, by the rules of the decoder."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from allmlp.data.decoding.decode import check_size, to_rgb
from allmlp.errors import DataError
from allmlp.io.display import escape

__all__ = ["to_pixels"]

# The modes whose transparency and 16 bits the decoder has a rule for; Pillow converts any other to RGB.
_DECODED_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def to_pixels(photo: Image.Image | NDArray[np.uint8], *, name: str) -> NDArray[np.uint8]:
    """Return the upright RGB pixels of a PIL image, or an array (height, width, 3) itself: uint8, within the decoder's limits.

    Transparency, 16-bit samples and EXIF orientation are as of `decode`.

    Raises:
        DataError: a mode without a declared range, a file that PIL opened lazily and cannot read, an array of another shape
            or type, or a size beyond the limits; it leads with `name`.
    """
    if isinstance(photo, Image.Image):
        try:
            return _from_pil(photo)
        except Exception as error:  # a lazily opened file fails here, in as many ways as formats have
            raise DataError(f"{escape(name)}: this PIL image cannot be used: {error}.") from error
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise DataError(
            f"{escape(name)}: an array of shape {photo.shape} and type {photo.dtype}; "
            "expected (height, width, 3), uint8, RGB. Nothing is guessed."
        )
    try:
        check_size((photo.shape[1], photo.shape[0]))
    except ValueError as error:
        raise DataError(f"{escape(name)}: this array cannot be used: {error}.") from error
    return photo


def _from_pil(image: Image.Image) -> NDArray[np.uint8]:
    check_size(image.size)
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode} has no declared range; convert it to 8 bits first")
    upright = ImageOps.exif_transpose(image)
    return np.array(to_rgb(upright if upright.mode in _DECODED_MODES else upright.convert("RGB")))
