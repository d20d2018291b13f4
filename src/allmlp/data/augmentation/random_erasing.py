"""Random erasing (Zhong et al. 2017, arXiv 1708.04896): the rectangle of each sample that is replaced by noise.

As timm's RandomErasing in mode "pixel": the area is 0.02 to 1/3 of the image, the aspect ratio is log-uniform from 0.3 to
1 / 0.3, and every value of the rectangle is a standard normal draw, in normalised pixels. `warp` fills the rectangle.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data.augmentation.config import Augmentation

__all__ = ["NUM_ERASING_DRAWS", "Erasures", "draw_erasures"]

_TRIES = 10  # to draw a rectangle that fits; after that, nothing is erased
_AREAS = (0.02, 1 / 3)
_MAX_LOG_RATIO = float(np.log(1 / 0.3))
NUM_ERASING_DRAWS = 4 + 2 * _TRIES  # whether, position in y and x, the noise, and area and aspect ratio of each try


class Erasures(NamedTuple):
    """The erased rectangle of each sample.

    rectangles: (B, 4) int64: top, bottom, left, right; empty if nothing is erased.
    seeds: (B,) uint64: seeds of the noise.
    """

    rectangles: NDArray[np.int64]
    seeds: NDArray[np.uint64]

    def areas(self) -> NDArray[np.int64]:
        """Return the number of erased pixels per sample (B,)."""
        areas: NDArray[np.int64] = np.prod(self.rectangles[:, 1::2] - self.rectangles[:, ::2], axis=1)
        return areas

    def noise(self, index: int) -> NDArray[np.float32]:
        """Return the noise for the rectangle of a sample: (3, height, width), standard normal."""
        top, bottom, left, right = self.rectangles[index]
        generator = np.random.default_rng(int(self.seeds[index]))
        return generator.standard_normal((3, bottom - top, right - left), dtype=np.float32)


def draw_erasures(
    augmentation: Augmentation, draws: NDArray[np.float64], *, image_size: tuple[int, int]
) -> Erasures | None:
    """Return the rectangle of each sample; None if random erasing is off.

    Args:
        augmentation: the probability of erasing.
        draws: (B, NUM_ERASING_DRAWS), uniform in [0, 1).
        image_size: (height, width).
    """
    if augmentation.random_erasing == 0.0:
        return None
    height, width = image_size
    tries = draws[:, 4:].reshape(len(draws), 2, _TRIES)
    area = height * width * (_AREAS[0] + (_AREAS[1] - _AREAS[0]) * tries[:, 0])  # (B, tries)
    ratio = np.exp(_MAX_LOG_RATIO * (2.0 * tries[:, 1] - 1.0))
    heights, widths = np.round(np.sqrt(area * ratio)), np.round(np.sqrt(area / ratio))
    fits = (heights < height) & (widths < width)
    rows, first = np.arange(len(draws)), fits.argmax(axis=1)
    erased = (draws[:, 0] < augmentation.random_erasing) & fits.any(axis=1)
    erased_height, erased_width = (np.where(erased, sides[rows, first], 0.0) for sides in (heights, widths))
    top = np.floor(draws[:, 1] * (height - erased_height + 1))
    left = np.floor(draws[:, 2] * (width - erased_width + 1))
    rectangles = np.stack([top, top + erased_height, left, left + erased_width], axis=1).astype(np.int64)
    return Erasures(rectangles, (draws[:, 3] * 2.0**53).astype(np.uint64))
