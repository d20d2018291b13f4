"""Training input pipeline: augmented batches for training, resized batches for evaluation."""

import dataclasses
import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.data import (
    AugmentationPipeline,
    Batch,
    CropBatch,
    CropImages,
    ImageDataset,
    RawBatch,
    Split,
    TrainingImages,
    TrainingOrder,
    check_photos,
    evaluation_batches,
    fingerprint,
    resized_images,
    with_digests,
)
from allmlp.hardware.memory import free_memory
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.ordered_map import prefetch
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.progress import PhotosRead, Progress
from allmlp.training.recipe.cached_passes import trains_on_features
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.step.batch import TrainingBatch
from allmlp.training.step.distillation import Teacher, taught
from allmlp.training.step.loss import balanced_class_weights

__all__ = ["InputPipeline"]

# Photos are kept in memory up to this share of the free memory. It affects only speed: streaming gives the same bits.
_MEMORY_SHARE = 0.25


class InputPipeline:
    """The checked photos of a run, kept in memory if they fit. Each process produces its own part of every batch.

    `decoded` is the fingerprint of a data set whose photos have all been decoded before. If it matches, only the photos that
    are kept in memory are decoded again; None decodes all. `digests` are those of the photos by split, in their order, as
    far as they are known: every photo that is read, now or during training, is compared with its digest. `teacher` answers for
    a part of the labels.

    Attributes:
        fingerprint: of the data set, all of whose photos can be decoded; None if one of its files cannot be examined.
        digests: SHA-256 of every photo, by split.

    Raises:
        DataError: photos that cannot be decoded or have changed, all of them named, from every split.
    """

    def __init__(
        self,
        recipe: ResolvedRecipe,
        dataset: ImageDataset,
        *,
        ranks: ProcessGroup,
        progress: Progress,
        decoded: str | None = None,
        digests: Mapping[str, Sequence[str]] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        known = {name: [""] * len(split) for name, split in dataset.splits.items()} if digests is None else digests
        self.digests = {name: list(known[name]) for name in dataset.splits}
        splits = {name: with_digests(split, self.digests[name]) for name, split in dataset.splits.items()}
        self._dataset = dataset = dataclasses.replace(dataset, splits=splits)
        self._ranks = ranks
        self._device = ranks.device
        self._recipe, self._teacher = recipe, teacher
        self._batch_size = recipe.batch_size
        self._augments = recipe.augmentation
        self.class_names = dataset.class_names
        self.preprocessing = recipe.data.preprocessing(recipe.model.image_size)
        workers = recipe.data.num_workers
        self._num_workers = num_decoding_threads() if workers is None else workers
        split = dataset.splits["train"]
        self.order = TrainingOrder(
            split.sample_ids,
            seed=recipe.seed,
            batch_size=recipe.batch_size,
            balanced_labels=split.labels if recipe.sampler == "balanced" else None,
        )
        self._num_passes = recipe.transfer.cached_passes if trains_on_features(recipe) else None
        self._labels = split.labels
        self._augmentation = _augmentation_pipeline(recipe, device=self._device, num_workers=self._num_workers)
        self._class_weights = (
            balanced_class_weights(torch.tensor(split.labels), len(self.class_names)).to(self._device)
            if recipe.class_weights == "balanced"
            else None
        )
        self._training_images = _training_images(recipe, split, num_workers=self._num_workers)
        self._crop_images = _crop_images(recipe, split, num_workers=self._num_workers)
        self._fitted: dict[str, list[NDArray[np.uint8]]] = {}
        # Computed before decoding starts: photos that change meanwhile are decoded again by the next session.
        self.fingerprint = fingerprint(dataset)
        is_decoded = decoded is not None and decoded == self.fingerprint and digests is not None
        self._read_all(recipe.data.storage, progress, is_decoded=is_decoded)

    def _read_all(self, storage: str, progress: Progress, *, is_decoded: bool) -> None:
        """Decode every photo of every split before the first step: a bad one must not surface after hours of training.

        If all were decoded before (`is_decoded`), decode only the photos that are kept in memory.
        """
        available_bytes = _MEMORY_SHARE * free_memory()
        height, width = self.preprocessing.image_size
        fitted: dict[str, dict[int, NDArray[np.uint8]]] = {}
        for name in (name for name in ("validation", "test") if name in self._dataset.splits):
            size = 3 * height * width * len(self._dataset.splits[name])
            if size < available_bytes:
                fitted[name] = {}
                available_bytes -= size
        keep = self._crop_images is None and (
            storage == "memory" or (storage == "auto" and self._training_images.estimated_bytes() < available_bytes)
        )

        def visit(split: str, index: int, image: NDArray[np.uint8]) -> None:
            if split == "train" and keep:
                self._training_images.keep(index, image)
            elif split in fitted:
                fitted[split][index] = self.preprocessing.resize(image)

        is_kept = {"train": keep, **dict.fromkeys(fitted, True)}
        splits = tuple(name for name in self._dataset.splits if not is_decoded or is_kept.get(name))
        check_photos(
            self._dataset, splits=splits, num_workers=self._num_workers, progress=PhotosRead(progress), visit=visit
        )
        self._fitted = {name: [images[index] for index in range(len(images))] for name, images in fitted.items()}
        readable = "all others readable" if self._dataset.skipped else "all readable"
        state = "unchanged since all were decoded" if is_decoded else readable
        progress.message(f"photos  {state}; training photos {'kept in memory' if keep else 'streamed'}")

    def batches(self, *, first_step: int, num_steps: int) -> Generator[TrainingBatch, None, None]:
        """Yield this process's part of the batch of each step from `first_step` to `num_steps` - 1, a function of (seed, step).

        RandAugment runs on the CPU whatever the device; with it, the next batch is prepared during a step. A caller that stops
        early must close the generator.
        """
        return self.batches_of(range(first_step, num_steps))

    def batches_of(self, steps: Iterable[int]) -> Generator[TrainingBatch, None, None]:
        """Yield the batches of certain steps, as `batches` does."""
        batches = self._batches(steps)
        if self._augments.rand_augment_layers:
            batches = prefetch(batches)
        return batches if self._teacher is None else taught(batches, self._teacher, self._recipe)

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sample indices (B,) of a step, and the epoch (B,) whose augmentation each of them has."""
        indices, epochs = self.order.batch(step)
        return indices, epochs if self._num_passes is None else epochs % self._num_passes

    def feature_batch(self, step: int, features: Tensor) -> TrainingBatch:
        """Return this process's part of the batch of a step, with its features (B, C) in place of images."""
        indices, _ = self.order.batch(step)
        labels = self._augmentation.unmixed_labels(self._labels[indices[self._ranks.part(self._batch_size)]])
        return TrainingBatch(features, labels, None, self.order.keys[indices], self._class_weights)

    def _batches(self, steps: Iterable[int]) -> Generator[TrainingBatch, None, None]:
        plan: deque[tuple[int, NDArray[np.int64], dict[str, NDArray[np.float64]]]] = deque()
        positions = self._positions()

        # A stream requests photos several batches before it yields them.
        def samples_ahead() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
            for step in steps:
                indices, epochs = self.batch(step)
                draws = self._augmentation.draws(self.order.keys[indices[positions]], epochs[positions])
                plan.append((step, indices, draws))
                yield indices[positions], draws["crop"]

        raw_batches: Iterator[RawBatch | CropBatch]
        if self._crop_images is not None:
            raw_batches = self._crop_images.batches(samples_ahead())
        else:
            raw_batches = self._training_images.batches(indices for indices, _ in samples_ahead())
        for raw in raw_batches:
            yield self._augmented(raw, positions, *plan.popleft())

    def _positions(self) -> NDArray[np.int64]:
        """Return which positions of a batch this process loads: its part, after the sample that its first one is mixed with."""
        part = self._ranks.part(self._batch_size)
        positions = np.arange(part.start, part.stop)
        if not self._needs_neighbour():
            return positions
        return np.concatenate([[(part.start - 1) % self._batch_size], positions])

    def _needs_neighbour(self) -> bool:
        return self._ranks.count > 1 and (self._augments.mixup > 0.0 or self._augments.cutmix > 0.0)

    def _augmented(
        self,
        raw: RawBatch | CropBatch,
        positions: NDArray[np.int64],
        step: int,
        batch_indices: NDArray[np.int64],
        draws: dict[str, NDArray[np.float64]],
    ) -> TrainingBatch:
        part = self._ranks.part(self._batch_size)
        labels = self._labels[batch_indices[positions]]
        batch = self._augmentation.augment(raw, labels, draws, step=step, part=part)
        return TrainingBatch(*batch, self.order.keys[batch_indices], self._class_weights)

    def evaluation_batches(self, split: str, *, limit: int | None = None) -> Iterator[Batch]:
        """Yield the batches of a split for evaluation: resized and normalised images with their labels.

        `limit` takes at most that many photos, spread evenly over the split, and decodes them again.
        """
        photos = self._dataset.splits[split]
        if limit is not None:
            photos = photos.subset(np.unique(np.linspace(0, len(photos) - 1, limit).round()))
            images: Iterable[NDArray[np.uint8]] = resized_images(
                photos, self.preprocessing, num_workers=self._num_workers
            )
        else:
            images = self._fitted_images(split)
        return evaluation_batches(images, photos.labels, self.preprocessing, num_classes=len(self.class_names))

    def _fitted_images(self, split: str) -> Iterable[NDArray[np.uint8]]:
        """Return the resized images of a split, (H, W, 3) uint8, from memory if they were kept."""
        if split in self._fitted:
            return self._fitted[split]
        return resized_images(self._dataset.splits[split], self.preprocessing, num_workers=self._num_workers)


def _augmentation_pipeline(recipe: ResolvedRecipe, *, device: str, num_workers: int) -> AugmentationPipeline:
    return AugmentationPipeline(
        augmentation=recipe.augmentation,
        preprocessing=recipe.data.preprocessing(recipe.model.image_size),
        seed=recipe.seed,
        batch_size=recipe.batch_size,
        num_classes=recipe.model.num_classes,
        num_depth_draws=2 * recipe.model.num_blocks if recipe.model.stochastic_depth else 0,
        device=device,
        num_workers=num_workers,
    )


def _training_images(recipe: ResolvedRecipe, split: Split, *, num_workers: int) -> TrainingImages:
    return TrainingImages(
        split,
        image_size=recipe.model.image_size,
        # An inception crop is cut from the photo itself; squashing first would distort the aspect ratio it samples.
        fit="crop" if recipe.augmentation.crop == "inception" else recipe.data.fit,
        kept_scale=_kept_scale(recipe),
        num_workers=num_workers,
    )


def _crop_images(recipe: ResolvedRecipe, split: Split, *, num_workers: int) -> CropImages | None:
    """Return None if the recipe decodes whole photos."""
    if recipe.data.decoding == "whole":
        return None
    preprocessing = recipe.data.preprocessing(recipe.model.image_size)
    return CropImages(split, augmentation=recipe.augmentation, preprocessing=preprocessing, num_workers=num_workers)


def _kept_scale(recipe: ResolvedRecipe) -> int:
    """Return the factor, 2 to 4, of the image size at which photos are kept, so that the smallest crop needs no upscaling.

    It is 4 without antialiasing: what a reduction averages, a filter without antialiasing would not have averaged.
    """
    augmentation = recipe.augmentation
    if not recipe.data.preprocessing(recipe.model.image_size).is_antialiased:
        return 4
    smallest = augmentation.min_crop_area**0.5 if augmentation.crop == "inception" else recipe.data.crop_fraction
    return min(4, max(2, math.ceil(1.0 / smallest)))
