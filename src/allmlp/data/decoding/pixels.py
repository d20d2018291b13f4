"""Conversion of PIL images and arrays to RGB pixels, by the rules of the decoder."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from allmlp.data.decoding.decode import check_size, to_rgb
from allmlp.errors import DataError
from allmlp.io.display import escape

__all__ = ["to_pixels"]

# Modes that `to_rgb` handles, with transparency and 16-bit samples; Pillow converts all others to RGB.
_DECODED_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def to_pixels(image: Image.Image | NDArray[np.uint8], *, name: str) -> NDArray[np.uint8]:
    """Return the upright RGB pixels of a PIL image, or an array (height, width, 3) itself: uint8, within the decoder's limits.

    Transparency, 16-bit samples and EXIF orientation are handled as by `decode`.

    Raises:
        DataError: a mode without a declared range, a file that PIL opened lazily and cannot read, an array of another shape
            or dtype, or a size beyond the limits; the message starts with `name`.
    """
    if isinstance(image, Image.Image):
        try:
            return _from_pil(image)
        except Exception as error:  # a lazily opened file is decoded here; each format raises its own errors
            raise DataError(f"{escape(name)}: this PIL image cannot be used: {error}.") from error
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise DataError(
            f"{escape(name)}: the array has shape {image.shape} and dtype {image.dtype}; "
            "expected (height, width, 3), uint8, RGB. Other arrays are not converted."
        )
    try:
        check_size((image.shape[1], image.shape[0]))
    except ValueError as error:
        raise DataError(f"{escape(name)}: this array cannot be used: {error}.") from error
    return image


def _from_pil(image: Image.Image) -> NDArray[np.uint8]:
    check_size(image.size)
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode} has no declared range; convert it to 8 bits first")
    upright = ImageOps.exif_transpose(image)
    return np.array(to_rgb(upright if upright.mode in _DECODED_MODES else upright.convert("RGB")))
