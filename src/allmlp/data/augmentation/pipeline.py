"""Augmentation pipeline: from the decoded images of a step to augmented images, label rows and depth draws."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.data.augmentation.color import NUM_COLOR_DRAWS, draw_colors
from allmlp.data.augmentation.config import Augmentation
from allmlp.data.augmentation.crop_images import CropBatch, normalise_crops
from allmlp.data.augmentation.crops import NUM_CROP_DRAWS, draw_crops
from allmlp.data.augmentation.mixing import Mix, draw_mix
from allmlp.data.augmentation.rand_augment import NUM_DISTORTION_DRAWS, check_timm, distort, draw_distortions
from allmlp.data.augmentation.random_erasing import NUM_ERASING_DRAWS, draw_erasures
from allmlp.data.augmentation.warp import (
    apply_on_uint8,
    color_jitter,
    erase_images,
    mix_images,
    mix_labels,
    resample,
    truncate_levels,
)
from allmlp.data.loading.training_images import RawBatch
from allmlp.data.preprocessing import Preprocessing
from allmlp.data.sampling.stateless_random import uniform

__all__ = ["AugmentationPipeline", "AugmentedBatch"]


class AugmentedBatch(NamedTuple):
    """The samples that one process trains on in one step, on its device.

    images: (B, 3, H, W) float32, augmented, mixed and normalised.
    labels: (B, K) float32, rows that sum to 1.
    depth_draws: (B, D) float32, uniform in [0, 1); None if D is 0.
    """

    images: Tensor
    labels: Tensor
    depth_draws: Tensor | None


@dataclass(frozen=True, kw_only=True)
class AugmentationPipeline:
    """Crop, flip, RandAugment, color jitter, random erasing, then mixup or CutMix. A pure function of (seed, epoch, sample).

    Attributes:
        augmentation: the augmentations and their strengths.
        preprocessing: the model's image size, filter, law, fit and normalisation.
        seed: the run's seed.
        batch_size: samples per step, over all processes.
        num_classes: K.
        num_depth_draws: D, the random numbers per sample for stochastic depth.
        device: device of the tensors.
        num_workers: threads for RandAugment (0: the calling thread). The result does not depend on it.

    Raises:
        MissingExtraError: RandAugment is on and timm is not installed.
    """

    augmentation: Augmentation
    preprocessing: Preprocessing
    seed: int
    batch_size: int
    num_classes: int
    num_depth_draws: int = 0
    device: str = "cpu"
    num_workers: int = 0

    def __post_init__(self) -> None:
        if self.augmentation.rand_augment_layers:
            check_timm()

    def draws(self, keys: NDArray[np.uint64], epochs: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return the random numbers (B, n) in [0, 1) for each purpose, a function of seed, epoch and sample.

        `keys` (B,) are the samples' keys, `epochs` (B,) the epochs in which they are seen; n is 0 for what is off.
        """
        counts = {  # new purposes are appended, so that the others keep their numbers
            "crop": NUM_CROP_DRAWS,
            "color": NUM_COLOR_DRAWS,
            "depth": self.num_depth_draws,
            "distortion": self.augmentation.rand_augment_layers * NUM_DISTORTION_DRAWS,
            "erasing": NUM_ERASING_DRAWS if self.augmentation.random_erasing else 0,
        }
        draws = np.empty((len(keys), sum(counts.values())))
        for epoch in np.unique(epochs):
            draws[epochs == epoch] = uniform(self.seed, int(epoch), keys[epochs == epoch], draws.shape[1])
        parts = np.split(draws, np.cumsum(list(counts.values()))[:-1], axis=1)
        return dict(zip(counts, parts, strict=True))

    def augment(
        self,
        raw: RawBatch | CropBatch,
        labels: NDArray[np.int64],
        draws: dict[str, NDArray[np.float64]],
        *,
        step: int,
        part: slice,
    ) -> AugmentedBatch:
        """Augment one process's part of a step's batch.

        Args:
            raw: the samples of `part`, preceded by the sample that the first is mixed with if another process trains on it.
            labels: (B,) classes of the samples in `raw`.
            draws: the result of `draws` for these samples.
            step: index of the step in the run, from 0.
            part: rows of the step's batch that this process trains on.
        """
        first = len(raw.images) - (part.stop - part.start)  # 1 if the sample before the part is included, else 0
        images = self._images(raw, draws)
        rows = self._one_hot(labels)
        mix = draw_mix(
            self.augmentation,
            seed=self.seed,
            step=step,
            batch_size=self.batch_size,
            image_size=self.preprocessing.image_size,
        )
        mix = None if mix is None else Mix(mix.shares[part], mix.rectangles[part])
        image_before, row_before = (images[:1], rows[:1]) if first else (None, None)
        depth = torch.from_numpy(draws["depth"][first:]).to(self.device, torch.float32)
        return AugmentedBatch(
            mix_images(images[first:], mix, before=image_before),
            mix_labels(rows[first:], mix, smoothing=self.augmentation.label_smoothing, before=row_before),
            depth if self.num_depth_draws else None,
        )

    def unmixed_labels(self, labels: NDArray[np.int64]) -> Tensor:
        """Return the label rows (B, K) of samples of the classes `labels` (B,) that are not mixed."""
        return mix_labels(self._one_hot(labels), None, smoothing=self.augmentation.label_smoothing)

    def _one_hot(self, labels: NDArray[np.int64]) -> Tensor:
        return torch.nn.functional.one_hot(torch.from_numpy(labels), self.num_classes).to(self.device, torch.float32)

    def _images(self, raw: RawBatch | CropBatch, draws: dict[str, NDArray[np.float64]]) -> Tensor:
        """Return (B, 3, H, W) float32 on the device, with every augmentation except mixing."""
        augmentation, preprocessing = self.augmentation, self.preprocessing
        scale = {"mean": preprocessing.mean, "std": preprocessing.std}
        if isinstance(raw, CropBatch):
            images = normalise_crops(raw, device=self.device, **scale)
        else:
            images = self._cropped(raw, draws["crop"])
        if preprocessing.law == "big_vision":  # its resize returns uint8
            images = truncate_levels(images, **scale)
        distortions = draw_distortions(augmentation, draws["distortion"])
        if distortions is not None:
            change = partial(distort, distortions=distortions, num_workers=self.num_workers)
            images = apply_on_uint8(images, change, **scale)
        images = color_jitter(images, draw_colors(augmentation, draws["color"]), **scale)
        return erase_images(images, draw_erasures(augmentation, draws["erasing"], image_size=preprocessing.image_size))

    def _cropped(self, raw: RawBatch, draws: NDArray[np.float64]) -> Tensor:
        augmentation, preprocessing = self.augmentation, self.preprocessing
        crops = draw_crops(
            augmentation,
            draws,
            raw.sizes,
            image_size=preprocessing.image_size,
            fit=preprocessing.fit,
            crop_fraction=preprocessing.crop_fraction,
        )
        return resample(
            torch.from_numpy(raw.images).to(self.device, non_blocking=True),
            torch.from_numpy(raw.sizes),
            crops,
            image_size=preprocessing.image_size,
            interpolation=preprocessing.interpolation,
            antialias=preprocessing.is_antialiased,
            is_cut=augmentation.crop == "inception" and augmentation.crop_law == "tensorflow",
            mean=preprocessing.mean,
            std=preprocessing.std,
        )
