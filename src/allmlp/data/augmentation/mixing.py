"""Mixup and CutMix: the mixing weights and rectangles of each sample; `warp` applies them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data.augmentation.config import Augmentation

__all__ = ["Mix", "draw_mix"]


class Mix(NamedTuple):
    """How each sample is mixed with the previous one in the batch (the first with the last).

    shares: (B,) float32 in [0, 1]: the sample's own weight in pixels and label.
    rectangles: (B, 4) int64: top, bottom, left, right of the part cut from the previous image; empty where images are blended.
    """

    shares: NDArray[np.float32]
    rectangles: NDArray[np.int64]


def draw_mix(
    augmentation: Augmentation, *, seed: int, step: int, batch_size: int, image_size: tuple[int, int]
) -> Mix | None:
    """Return how the samples of a step are mixed, a function of (seed, step); None if mixing is off.

    Every sample has its own weight and rectangle.
    """
    if augmentation.mixup == 0.0 and augmentation.cutmix == 0.0:
        return None
    generator = np.random.default_rng([seed, step])
    uniform = generator.random((4, batch_size))
    both = augmentation.mixup > 0.0 and augmentation.cutmix > 0.0
    cutting = (uniform[0] < 0.5) if both else np.full(batch_size, augmentation.cutmix > 0.0)
    blend = generator.beta(augmentation.mixup or 1.0, augmentation.mixup or 1.0, batch_size)
    cut = generator.beta(augmentation.cutmix or 1.0, augmentation.cutmix or 1.0, batch_size)
    unmixed = uniform[1] >= augmentation.mix_probability
    rectangles = _rectangles(np.where(cutting & ~unmixed, 1.0 - cut, 0.0), uniform[2:], image_size)
    covered = (rectangles[:, 1] - rectangles[:, 0]) * (rectangles[:, 3] - rectangles[:, 2])
    # The label's weight is the fraction of pixels actually covered: a rectangle at the border is clipped.
    shares = np.where(cutting, 1.0 - covered / (image_size[0] * image_size[1]), blend)
    return Mix(np.where(unmixed, 1.0, shares).astype(np.float32), rectangles)


def _rectangles(
    areas: NDArray[np.float64], centres: NDArray[np.float64], image_size: tuple[int, int]
) -> NDArray[np.int64]:
    sides = np.sqrt(areas)
    edges = []
    for size, centre in zip(image_size, centres, strict=True):
        half, middle = sides * size / 2, centre * size
        edges += [np.clip(np.round(middle - half), 0, size), np.clip(np.round(middle + half), 0, size)]
    return np.stack(edges, axis=1).astype(np.int64)
