"""Random crops and flips: one box per image of a batch; `warp` applies them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data.augmentation.config import Augmentation
from allmlp.data.preprocessing import Fit

__all__ = ["NUM_CROP_DRAWS", "Crops", "draw_crops", "evaluation_boxes"]

_TRIES = 10  # of the inception crop, as in TensorFlow and torchvision
NUM_CROP_DRAWS = 3 + 2 * _TRIES  # flip, position in x and y, and area and aspect ratio of each try
_LOG_MAX_RATIO = float(np.log(4 / 3))  # aspect ratios 3/4 to 4/3, as in Szegedy et al. 2014


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
        return Crops(_inception_boxes(draws[:, 1:], sizes, augmentation.min_crop_area), flips)
    boxes = evaluation_boxes(sizes, image_size=image_size, fit=fit, crop_fraction=crop_fraction)
    if augmentation.crop == "pad":
        pad = augmentation.pad_pixels
        shifts = np.floor(draws[:, 1:3] * (2 * pad + 1)) - pad  # whole output pixels, in x and y
        boxes[:, 0] += shifts[:, 0] * boxes[:, 2] / image_size[1]
        boxes[:, 1] += shifts[:, 1] * boxes[:, 3] / image_size[0]
    return Crops(boxes, flips)


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


def _inception_boxes(draws: NDArray[np.float64], sizes: NDArray[np.int64], min_area: float) -> NDArray[np.float64]:
    """Sample boxes by rejection, like torchvision's RandomResizedCrop, with all tries drawn at once: the first that fits is used."""
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
