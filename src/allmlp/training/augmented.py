"""From decoded photos to the images that the model sees, but for mixing: what chance decides, and its carrying out."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.data import (
    NUM_COLOR_DRAWS,
    NUM_CROP_DRAWS,
    NUM_DISTORTION_DRAWS,
    NUM_ERASING_DRAWS,
    RawBatch,
    apply_on_uint8,
    color_jitter,
    distort,
    draw_colors,
    draw_crops,
    draw_distortions,
    draw_erasures,
    erase_images,
    resample,
    uniform,
)
from allmlp.training.recipe.recipe import Recipe

__all__ = ["augmented_images", "draws_of"]


def draws_of(recipe: Recipe, keys: NDArray[np.uint64], epochs: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return for each purpose the numbers in [0, 1) (B, n) that decide it: a function of seed, epoch and sample.

    `keys` (B,) are those of the samples, `epochs` (B,) those in which they are seen; n is 0 for what is off.
    """
    model, augmentation = recipe.model, recipe.augmentation
    counts = {  # an addition goes to the end: so all others keep their numbers
        "crop": NUM_CROP_DRAWS,
        "color": NUM_COLOR_DRAWS,
        "depth": 2 * model.num_blocks if model.stochastic_depth else 0,
        "distortion": augmentation.rand_augment_layers * NUM_DISTORTION_DRAWS,
        "erasing": NUM_ERASING_DRAWS if augmentation.random_erasing else 0,
    }
    draws = np.empty((len(keys), sum(counts.values())))
    for epoch in np.unique(epochs):
        draws[epochs == epoch] = uniform(recipe.seed, int(epoch), keys[epochs == epoch], draws.shape[1])
    parts = np.split(draws, np.cumsum(list(counts.values()))[:-1], axis=1)
    return dict(zip(counts, parts, strict=True))


def augmented_images(
    recipe: Recipe, raw: RawBatch, draws: dict[str, NDArray[np.float64]], *, device: str, num_workers: int
) -> Tensor:
    """Return (B, 3, H, W) float32 on the device: cropped, flipped, through RandAugment, recoloured, erased, normalised."""
    data, augmentation, image_size = recipe.data, recipe.augmentation, recipe.model.image_size
    crops = draw_crops(
        augmentation, draws["crop"], raw.sizes, image_size=image_size, fit=data.fit, crop_fraction=data.crop_fraction
    )
    scale = {"mean": data.mean, "std": data.std}
    images = resample(
        torch.from_numpy(raw.photos).to(device, non_blocking=True),
        torch.from_numpy(raw.sizes),
        crops,
        image_size=image_size,
        interpolation=data.preprocessing(image_size).interpolation,
        **scale,
    )
    distortions = draw_distortions(augmentation, draws["distortion"])
    if distortions is not None:
        images = apply_on_uint8(images, partial(distort, distortions=distortions, num_workers=num_workers), **scale)
    images = color_jitter(images, draw_colors(augmentation, draws["color"]), **scale)
    return erase_images(images, draw_erasures(augmentation, draws["erasing"], image_size=image_size))
