"""`rgb_pixels`, the one rule from a decoded image of any mode to RGB."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.TiffImagePlugin import TiffImageFile

from allmlp.data.decoding.reasons import UnusablePhotoError
from allmlp.data.resizing.axes import resize_box_by_axes

__all__ = ["averaged", "averaged_pixels", "is_plain_rgb", "rgb_pixels", "stored_box", "upright", "upright_size"]

# Converted at a time, so that memory for intermediate images is bounded.
_STRIP_PIXELS = 1_000_000

_AVERAGED_ROWS = 256  # of taller photos, not all rows are averaged: copying them would take as long as averaging

# As in PIL.ImageOps.exif_transpose, from the stored rows and columns to the upright ones: whether to swap them first, and the
# directions in which they are then read.
_UPRIGHT = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


def rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Decode an image if needed and return RGB, uint8 (height, width, 3), without applying its orientation.

    Transparency is composited on white, 16-bit samples become their high byte, and a BMP whose alpha is zero everywhere is
    opaque. Other modes are converted by Pillow.

    Raises:
        UnusablePhotoError: 32-bit samples, which have no declared range.
    """
    inverted, bits = False, 16
    if isinstance(image, TiffImageFile):
        inverted = image.tag_v2.get(262) == 0  # PhotometricInterpretation: white is zero
        bits = image.tag_v2.get(258, (16,))[0]
    image.load()  # for a TIFF, this applies the orientation
    if image.mode in ("I", "F"):
        raise UnusablePhotoError("it has 32-bit samples without a declared range", advice="Save it with 8 or 16 bits")
    is_opaque = not image.has_transparency_data and image.mode not in ("RGBa", "La")
    if isinstance(image, BmpImageFile) and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        is_opaque = True  # many programs leave the fourth byte zero
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width)
    if is_plain_rgb(image) and rows >= height:
        return np.array(image)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        if image.mode.startswith("I;16"):
            pixels[top : top + rows] = _from_16_bit(strip, image.info, bits=bits, inverted=inverted)
        else:
            pixels[top : top + rows] = np.asarray(strip.convert("RGB") if is_opaque else _on_white(strip))
    return pixels


def is_plain_rgb(image: Image.Image) -> bool:
    """Decode an image if needed and return whether its own pixels are those that `rgb_pixels` returns."""
    image.load()
    return image.mode == "RGB" and not image.has_transparency_data


def averaged(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """Return an RGB image averaged to (side, side, 3), uint8, whatever its aspect ratio.

    The pixels are those of Pillow's `resize` with reducing_gap=2: first by whole factors, to at least twice the size.
    """
    factors = (max(1, image.width // (2 * side)), max(1, image.height // (2 * side)))
    reduced = image if factors == (1, 1) else image.reduce(factors)
    box = (0, 0, image.width / factors[0], image.height / factors[1])
    return np.array(resize_box_by_axes(reduced, (side, side), Image.Resampling.BOX, box))


def averaged_pixels(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a photo, uint8 (height, width, 3), averaged to (side, side, 3)."""
    rows = np.ascontiguousarray(pixels[:: max(1, pixels.shape[0] // _AVERAGED_ROWS)])
    return averaged(Image.fromarray(rows), side)


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the (width, height) of a photo after `upright`, from that of its stored pixels."""
    return (size[1], size[0]) if _UPRIGHT.get(orientation, (False,))[0] else size


def stored_box(
    box: tuple[float, float, float, float], size: tuple[int, int], orientation: int
) -> tuple[float, float, float, float]:
    """Return where a box (left, top, right, bottom) of an upright photo of `size` (width, height) is in its stored pixels."""
    left, top, right, bottom = box
    is_swapped, down, across = _UPRIGHT.get(orientation, (False, 1, 1))
    if down < 0:
        top, bottom = size[1] - bottom, size[1] - top
    if across < 0:
        left, right = size[0] - right, size[0] - left
    return (top, left, bottom, right) if is_swapped else (left, top, right, bottom)


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return stored pixels (h, w, 3) turned and flipped by an EXIF orientation; values other than 2 to 8 mean "as stored"."""
    if orientation not in _UPRIGHT:
        return pixels
    is_swapped, down, across = _UPRIGHT[orientation]
    turned = pixels.transpose(1, 0, 2) if is_swapped else pixels
    return np.ascontiguousarray(turned[::down, ::across])


def _from_16_bit(
    image: Image.Image, info: dict[str | tuple[int, int], object], *, bits: int, inverted: bool
) -> NDArray[np.uint8]:
    # The high byte, as Pillow does for 16-bit colour: grey must decode to the same pixels whether saved as grey or as RGB.
    samples = np.asarray(image)
    pixels = (samples >> (bits - 8)).astype(np.uint8)
    if inverted:
        pixels = 255 - pixels
    transparent = info.get("transparency")  # PNG: the grey level that is transparent
    if isinstance(transparent, int):
        pixels[samples == transparent] = 255
    return pixels[..., None]


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", rgba.size, "white")
    canvas.paste(rgba, mask=rgba)
    return canvas
