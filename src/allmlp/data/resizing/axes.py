"""Pillow's antialiased resize with a fixed order of its two passes."""

from PIL import Image

__all__ = ["resize_box_by_axes", "resize_by_axes"]


def resize_by_axes(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """Resize an image to `size` (width, height): first its width, then its height, rounding to whole levels after each.

    Pillow before 13 passes over the width first, Pillow 13 over the height first if that saves work, which rounds
    differently. A call that changes one side makes a single pass, so that two calls give the same bits with every version.
    An image of this size already is returned itself.
    """
    if size[0] != image.width:
        image = image.resize((size[0], image.height), resample)
    if size[1] != image.height:
        image = image.resize((image.width, size[1]), resample)
    return image


def resize_box_by_axes(
    image: Image.Image,
    size: tuple[int, int],
    resample: Image.Resampling,
    box: tuple[float, float, float, float],
) -> Image.Image:
    """Resize a box (left, top, right, bottom) of an image to `size`, in the same order, as one call with the box does.

    Pixels outside of the box have weight where the filter reaches them.
    """
    left, top, right, bottom = box
    image = image.resize((size[0], image.height), resample, box=(left, 0, right, image.height))
    return image.resize(size, resample, box=(0, top, size[0], bottom))
