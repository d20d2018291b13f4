"""Random crops and flips: one box per image of a batch; `warp` applies them.

The laws of the inception crop (Szegedy et al. 2014), which is named in papers but defined only in code. For a photo of H × W:

- "torchvision" (RandomResizedCrop): area uniform in [min_area, 1] · H · W, aspect ratio w / h log-uniform in [3/4, 4/3],
  position uniform in continuous coordinates. After 10 tries that do not fit, the largest centred box with such a ratio.
- "tensorflow" (tf.image.sample_distorted_bounding_box with its defaults, which the authors' code keeps; source: tensorflow,
  core/kernels/image/sample_distorted_bounding_box_op.cc): aspect ratio r uniform in [0.75, 1.33], whose upper end is not 4/3;
  then the height h uniform among the integers from round(sqrt(min_area · H · W / r)) to the smallest of round(sqrt(H · W / r)),
  H, and the largest h whose width round(h · r) is at most W. A width that makes the area smaller than allowed adds a pixel to
  h, one that makes it larger takes one off. The left edge is uniform among the integers from 0 to W - w - 1, so that a crop
  never touches the right edge unless it is as wide as the photo; the top likewise. After 100 tries that do not fit, the whole
  photo.

The second one's crops are smaller: mean areas of 0.34 and 0.42 of a photo of 500 × 375, for a min_area of 0.05.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data.augmentation.config import Augmentation
from allmlp.data.laws import Fit

__all__ = ["NUM_CROP_DRAWS", "Crops", "draw_crops", "evaluation_boxes", "inception_box"]

_TRIES = 10  # of the inception crop, as in torchvision
NUM_CROP_DRAWS = 3 + 2 * _TRIES  # flip, position in x and y, and area (or height) and aspect ratio of each try
_LOG_MAX_RATIO = float(np.log(4 / 3))  # aspect ratios 3/4 to 4/3, as in Szegedy et al. 2014
_TENSORFLOW_TRIES = 100
_TENSORFLOW_RATIOS = (0.75, 1.33)  # not 4/3


class Crops(NamedTuple):
    """The crop of each image of a batch.

    boxes: (B, 4) float64: left, top, width, height in pixels of the image; a box may extend beyond the image.
    flips: (B,) bool: whether to mirror horizontally.
    """

    boxes: NDArray[np.float64]
    flips: NDArray[np.bool_]


def draw_crops(
    augmentation: Augmentation,
    draws: NDArray[np.float64],
    sizes: NDArray[np.int64],
    *,
    image_size: tuple[int, int],
    fit: Fit,
    crop_fraction: float = 1.0,
) -> Crops:
    """Return the crop of each image.

    Args:
        augmentation: the kind of crop and whether to flip.
        draws: (B, NUM_CROP_DRAWS), uniform in [0, 1).
        sizes: (B, 2): height and width of each image before the crop.
        image_size: (height, width) of the result.
        fit, crop_fraction: as in `Preprocessing`.
    """
    flips = (draws[:, 0] < 0.5) & augmentation.flip
    if augmentation.crop == "inception":
        boxes_of = _tensorflow_boxes if augmentation.crop_law == "tensorflow" else _torchvision_boxes
        return Crops(boxes_of(draws[:, 1:], sizes, augmentation.min_crop_area), flips)
    boxes = evaluation_boxes(sizes, image_size=image_size, fit=fit, crop_fraction=crop_fraction)
    if augmentation.crop == "pad":
        pad = augmentation.pad_pixels
        shifts = np.floor(draws[:, 1:3] * (2 * pad + 1)) - pad  # whole output pixels, in x and y
        boxes[:, 0] += shifts[:, 0] * boxes[:, 2] / image_size[1]
        boxes[:, 1] += shifts[:, 1] * boxes[:, 3] / image_size[0]
    return Crops(boxes, flips)


def inception_box(
    augmentation: Augmentation, draws: NDArray[np.float64], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the box (left, top, width, height) that `draw_crops` takes from one photo of (width, height), in less time.

    `draws` is (NUM_CROP_DRAWS,).
    """
    if augmentation.crop_law == "tensorflow":
        sizes = np.array([size[::-1]], np.int64)
        left, top, width, height = _tensorflow_boxes(draws[None, 1:], sizes, augmentation.min_crop_area)[0].tolist()
        return left, top, width, height
    _, x, y, *tries = draws.tolist()
    smallest = augmentation.min_crop_area
    for area, ratio in zip(tries[:_TRIES], tries[_TRIES:], strict=True):
        pixels = size[0] * size[1] * (smallest + (1.0 - smallest) * area)
        aspect = math.exp(_LOG_MAX_RATIO * (2.0 * ratio - 1.0))
        width, height = math.sqrt(pixels * aspect), math.sqrt(pixels / aspect)
        if width <= size[0] and height <= size[1]:
            return x * (size[0] - width), y * (size[1] - height), width, height
    left, top, width, height = _torchvision_boxes(draws[None, 1:], np.array([size[::-1]], np.int64), smallest)[
        0
    ].tolist()
    return left, top, width, height


def evaluation_boxes(
    sizes: NDArray[np.int64], *, image_size: tuple[int, int], fit: Fit, crop_fraction: float = 1.0
) -> NDArray[np.float64]:
    """Return the boxes (B, 4) that evaluation crops from images, up to rounding to whole pixels."""
    own_height, own_width = sizes.astype(np.float64).T
    height, width = own_height, own_width
    if fit != "squash":
        scales = np.stack([height / image_size[0], width / image_size[1]])
        scale = scales.min(axis=0) if fit == "crop" else scales.max(axis=0)
        height, width = scale * image_size[0], scale * image_size[1]
    if fit != "pad":
        height, width = height * crop_fraction, width * crop_fraction
    return np.stack([(own_width - width) / 2, (own_height - height) / 2, width, height], axis=1)


def _torchvision_boxes(draws: NDArray[np.float64], sizes: NDArray[np.int64], min_area: float) -> NDArray[np.float64]:
    """Sample boxes like torchvision's RandomResizedCrop, but with all tries drawn at once: the first that fits is used."""
    height, width = sizes[:, :1].astype(np.float64), sizes[:, 1:].astype(np.float64)
    tries = draws[:, 2:].reshape(len(draws), 2, _TRIES)
    area = height * width * (min_area + (1.0 - min_area) * tries[:, 0])  # (B, tries)
    ratio = np.exp(_LOG_MAX_RATIO * (2.0 * tries[:, 1] - 1.0))
    box_width, box_height = np.sqrt(area * ratio), np.sqrt(area / ratio)
    fits = (box_width <= width) & (box_height <= height)
    first = fits.argmax(axis=1)
    rows = np.arange(len(draws))
    # In a very elongated image, all tries may fail: take the largest centred box with a permitted aspect ratio.
    ratio_whole = np.clip(width / height, np.exp(-_LOG_MAX_RATIO), np.exp(_LOG_MAX_RATIO))[:, 0]
    fallback_height = np.minimum(height[:, 0], width[:, 0] / ratio_whole)
    found = np.asarray(fits.any(axis=1))
    box_height = np.where(found, box_height[rows, first], fallback_height)
    box_width = np.where(found, box_width[rows, first], fallback_height * ratio_whole)
    position = np.where(found[:, None], draws[:, :2], 0.5)
    left = position[:, 0] * (width[:, 0] - box_width)
    top = position[:, 1] * (height[:, 0] - box_height)
    return np.stack([left, top, box_width, box_height], axis=1)


def _tensorflow_boxes(draws: NDArray[np.float64], sizes: NDArray[np.int64], min_area: float) -> NDArray[np.float64]:
    """Sample boxes in whole pixels like tf.image.sample_distorted_bounding_box."""
    boxes = np.column_stack([np.zeros_like(sizes), sizes[:, ::-1]]).astype(np.float64)  # the whole photo
    tries = draws[:, 2:].reshape(len(draws), 2, _TRIES)
    pending = np.arange(len(draws))
    for attempt in range(_TENSORFLOW_TRIES):  # the first one fits unless the photo is elongated or `min_area` large
        if attempt == _TRIES:
            tries = np.concatenate([tries, _more_tries(tries, _TENSORFLOW_TRIES - _TRIES)], axis=2)
        height, width, fits = _tensorflow_sizes(tries[:, :, attempt], sizes[pending], min_area)
        found, box_sizes = pending[fits], np.column_stack([width, height])[fits]
        boxes[found, :2] = np.floor(draws[found, :2] * (boxes[found, 2:] - box_sizes))
        boxes[found, 2:] = box_sizes
        pending, tries = pending[~fits], tries[~fits]
        if len(pending) == 0:
            break
    return boxes


def _more_tries(tries: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return `count` more tries (B, 2, count) for images whose `tries` (B, 2, n) did not fit, a function of these."""
    rows = [np.random.default_rng(np.ascontiguousarray(row).view(np.uint64).ravel()) for row in tries]
    return np.stack([generator.random((2, count)) for generator in rows])


def _tensorflow_sizes(
    tries: NDArray[np.float64], sizes: NDArray[np.int64], min_area: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return heights and widths (B,) of boxes in whole pixels, and which of them fit; float32, as in TensorFlow's kernel."""
    whole_height, whole_width = sizes.astype(np.float32).T
    shortest, longest = (np.float32(bound) for bound in _TENSORFLOW_RATIOS)
    ratio = tries[:, 1].astype(np.float32) * (longest - shortest) + shortest
    smallest, largest = np.float32(min_area) * whole_width * whole_height, whole_width * whole_height
    low, high = np.rint(np.sqrt(smallest / ratio)), np.rint(np.sqrt(largest / ratio))
    within_width = np.floor((whole_width + 0.5 - 1e-7) / ratio)
    within_width -= np.rint(within_width * ratio) > whole_width  # rounding
    high = np.minimum(np.where(np.rint(high * ratio) > whole_width, within_width, high), whole_height)
    low = np.minimum(low, high)
    height = low + np.floor(tries[:, 0] * (high - low + 1)).astype(np.float32)
    height += np.rint(height * ratio) * height < smallest
    height -= np.rint(height * ratio) * height > largest
    width = np.rint(height * ratio)
    area = width * height
    fits = (area >= smallest) & (area <= largest) & (width <= whole_width) & (height <= whole_height) & (area > 0)
    return height, width, fits
