"""Mixup and CutMix: in which shares, and where, each sample is mixed with another; `warp` applies it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data.augmentation.config import Augmentation

__all__ = ["Mix", "draw_mix"]


class Mix(NamedTuple):
    """How each sample is mixed with the one before it in the batch (the first with the last).

    shares: (B,) float32 in [0, 1]: the sample's own share of the pixels and of the label.
    rectangles: (B, 4) int64: top, bottom, left, right of the part taken from the other photo; empty where the two are blended.
    """

    shares: NDArray[np.float32]
    rectangles: NDArray[np.int64]


def draw_mix(
    augmentation: Augmentation, *, seed: int, step: int, batch_size: int, image_size: tuple[int, int]
) -> Mix | None:
    """Decide how the samples of one step are mixed, as a function of (seed, step); None when mixing is off.

    Every sample draws its own share and rectangle.
    """
    if augmentation.mixup == 0.0 and augmentation.cutmix == 0.0:
        return None
    generator = np.random.default_rng([seed, step])
    chance = generator.random((4, batch_size))
    both = augmentation.mixup > 0.0 and augmentation.cutmix > 0.0
    cutting = (chance[0] < 0.5) if both else np.full(batch_size, augmentation.cutmix > 0.0)
    blend = generator.beta(augmentation.mixup or 1.0, augmentation.mixup or 1.0, batch_size)
    cut = generator.beta(augmentation.cutmix or 1.0, augmentation.cutmix or 1.0, batch_size)
    unmixed = chance[1] >= augmentation.mix_probability
    rectangles = _rectangles(np.where(cutting & ~unmixed, 1.0 - cut, 0.0), chance[2:], image_size)
    covered = (rectangles[:, 1] - rectangles[:, 0]) * (rectangles[:, 3] - rectangles[:, 2])
    # The label's share is that of the pixels really covered: a rectangle at the border is clipped.
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
