"""`tf.image.resize` without antialiasing in NumPy: bilinear and by area, for a window of the result.

The arithmetic is that of TensorFlow's CPU kernels, float32 operation by float32 operation. Source: tensorflow,
core/kernels/image/resize_bilinear_op.cc (with half-pixel centres) and resize_area_op.cc.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Window", "resize_area", "resize_bilinear"]


class Window(NamedTuple):
    """The part of a resized image that is computed, in pixels of the result."""

    top: int
    left: int
    height: int
    width: int


def resize_bilinear(image: NDArray[np.uint8], size: tuple[int, int], window: Window) -> NDArray[np.float32]:
    """Return a window of `tf.image.resize(image, size, "bilinear")`: each pixel from the four around its centre.

    Nothing is averaged when an image is reduced, so that the cost does not depend on its size.

    Args:
        image: (h, w, 3) uint8.
        size: (height, width) of the whole result.
        window: the part to compute.

    Returns:
        (window.height, window.width, 3) float32, from 0 to 255.
    """
    above, below, down = _neighbours(image.shape[0], size[0], window.top, window.height)
    left, right, across = _neighbours(image.shape[1], size[1], window.left, window.width)

    def interpolated(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        chosen = image[rows]
        start = chosen[:, left].astype(np.float32)
        result: NDArray[np.float32] = start + (chosen[:, right] - start) * across[:, None]
        return result

    top = interpolated(above)
    result: NDArray[np.float32] = top + (interpolated(below) - top) * down[:, None, None]
    return result


def resize_area(image: NDArray[np.uint8], size: tuple[int, int], window: Window) -> NDArray[np.float32]:
    """Return a window of `tf.image.resize(image, size, "area")`: the mean over the area that each pixel covers.

    Arguments and result are those of `resize_bilinear`.
    """
    rows, row_weights, row_scale = _overlaps(image.shape[0], size[0], window.top, window.height)
    columns, column_weights, column_scale = _overlaps(image.shape[1], size[1], window.left, window.width)
    first = int(rows.min())
    used = image[first : int(rows.max()) + 1]
    # TensorFlow sums along each row first, then over the rows, from left to right and from top to bottom.
    sums = np.zeros((len(used), window.width, 3), np.float32)
    for column, weight in zip(columns.T, column_weights.T, strict=True):
        sums += used[:, column] * weight[:, None]
    result = np.zeros((window.height, window.width, 3), np.float32)
    for row, weight in zip(rows.T, row_weights.T, strict=True):
        result += sums[row - first] * weight[:, None, None]
    result *= np.float32(1.0 / (row_scale * column_scale))
    return result


def _scale(length: int, out: int) -> np.float32:
    return np.float32(length) / np.float32(out)  # source pixels per pixel of the result


def _neighbours(
    length: int, out: int, start: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return, for `count` pixels of the result from `start`, the pixel before, the one after, and the weight of the latter."""
    centres = np.arange(start, start + count, dtype=np.float32) + np.float32(0.5)
    positions = centres * _scale(length, out) - np.float32(0.5)
    floor = np.floor(positions)
    before = np.maximum(floor.astype(np.int64), 0)
    after = np.minimum(np.ceil(positions).astype(np.int64), length - 1)
    return before, after, positions - floor


def _overlaps(
    length: int, out: int, start: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], np.float32]:
    """Return the source pixels (count, n) that each pixel of the result overlaps, their weights, and the scale.

    A weight is the length of the overlap in source pixels, 0 for the pixels that pad a row to n.
    """
    scale = _scale(length, out)
    begins = np.arange(start, start + count, dtype=np.float32) * scale
    ends = np.arange(start + 1, start + count + 1, dtype=np.float32) * scale
    first, last = np.floor(begins).astype(np.int64), np.ceil(ends).astype(np.int64) - 1
    pixels = first[:, None] + np.arange(int((last - first).max()) + 1)
    left, right = pixels.astype(np.float32), (pixels + 1).astype(np.float32)
    begins, ends = begins[:, None], ends[:, None]
    weights = np.where(
        left < begins,
        np.where(right > ends, scale, right - begins),
        np.where(right > ends, ends - left, np.float32(1)),
    )
    weights = np.where(pixels <= last[:, None], weights, np.float32(0))
    return np.clip(pixels, 0, length - 1), weights, scale
