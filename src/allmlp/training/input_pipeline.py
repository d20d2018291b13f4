"""What the loop eats: augmented batches for training, fitted photos for validation."""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.data import (
    ImageDataset,
    Mix,
    RawBatch,
    TrainingOrder,
    TrainingPhotos,
    check_photos,
    draw_mix,
    evaluation_batches,
    mix_images,
    mix_labels,
    prefetch,
    resized_images,
)
from allmlp.hardware.memory import free_memory
from allmlp.metrics import Metrics, evaluate
from allmlp.model import MlpMixer
from allmlp.training.augmented import augmented_images, draws_of
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.progress import Progress
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.step.loss import balanced_class_weights
from allmlp.training.step.state import TrainState

__all__ = ["InputPipeline", "TrainingBatch"]

# Photos are kept in memory up to this share of what is free. It only decides speed: streaming gives the same bits.
_MEMORY_SHARE = 0.25

_SECONDS_BETWEEN_MESSAGES = 10.0  # while photos are read


class TrainingBatch(NamedTuple):
    """One step's input on the device.

    images: (B, 3, H, W) float32, augmented, mixed and normalised.
    labels: (B, K) float32 rows that sum to 1.
    depth_draws: (B, 2 N) uniform: what stochastic depth drops; None when it is off.
    keys: uint64: which samples the whole batch has, those of other processes too.
    class_weights: (K,) float32; None where all classes count alike.
    """

    images: Tensor
    labels: Tensor
    depth_draws: Tensor | None
    keys: NDArray[np.uint64]
    class_weights: Tensor | None = None

    def parts(self, count: int) -> Iterator["TrainingBatch"]:
        """Yield the batch in `count` equal parts."""
        if count == 1:
            yield self
            return
        size = len(self.images) // count
        for start in range(0, len(self.images), size):
            part = slice(start, start + size)
            depth = None if self.depth_draws is None else self.depth_draws[part]
            yield self._replace(images=self.images[part], labels=self.labels[part], depth_draws=depth)


class InputPipeline:
    """The photos of a run, checked, and kept in memory where they fit. Each process makes its own part of every batch.

    Nothing here depends on how long the run is.

    Raises:
        DataError: every photo that cannot be decoded, of every split, by name.
    """

    def __init__(
        self, recipe: ResolvedRecipe, dataset: ImageDataset, *, ranks: ProcessGroup, progress: Progress
    ) -> None:
        self._recipe = recipe
        self._dataset = dataset
        self._ranks = ranks
        self._device = ranks.device
        self.class_names = dataset.class_names
        self.preprocessing = recipe.data.preprocessing(recipe.model.image_size)
        workers = recipe.data.num_workers
        self._num_workers = min(os.cpu_count() or 1, 16) if workers is None else workers
        split = dataset.splits["train"]
        self.order = TrainingOrder(
            split.sample_ids,
            seed=recipe.seed,
            batch_size=recipe.batch_size,
            balanced_labels=split.labels if recipe.sampler == "balanced" else None,
        )
        self._labels = torch.tensor(split.labels)
        self._class_weights = (
            balanced_class_weights(self._labels, len(self.class_names)).to(self._device)
            if recipe.class_weights == "balanced"
            else None
        )
        self._photos = TrainingPhotos(
            split,
            image_size=recipe.model.image_size,
            # An inception crop is a part of the photo itself, of which squashing would change the shape before it is measured.
            fit="crop" if recipe.augmentation.crop == "inception" else recipe.data.fit,
            kept_scale=_kept_scale(recipe),
            num_workers=self._num_workers,
        )
        self._fitted: dict[str, list[NDArray[np.uint8]]] = {}
        self._read_all(progress)

    def _read_all(self, progress: Progress) -> None:
        """Decode every photo of every split before the first step: a bad one must not surface after hours of training."""
        room = _MEMORY_SHARE * free_memory()
        height, width = self._recipe.model.image_size
        fitted: dict[str, dict[int, NDArray[np.uint8]]] = {}
        for name in (name for name in ("validation", "test") if name in self._dataset.splits):
            size = 3 * height * width * len(self._dataset.splits[name])
            if size < room:
                fitted[name] = {}
                room -= size
        storage = self._recipe.data.storage
        keep = storage == "memory" or (storage == "auto" and self._photos.estimated_bytes() < room)

        def visit(split: str, index: int, photo: NDArray[np.uint8]) -> None:
            if split == "train" and keep:
                self._photos.keep(index, photo)
            elif split in fitted:
                fitted[split][index] = self.preprocessing.resize(photo)

        said = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said > _SECONDS_BETWEEN_MESSAGES:
                said = time.monotonic()
                progress.message(f"photos  {done:,} of {total:,} read")

        splits = tuple(self._dataset.splits)
        check_photos(self._dataset, splits=splits, num_workers=self._num_workers, progress=tell, visit=visit)
        self._fitted = {name: [photos[index] for index in range(len(photos))] for name, photos in fitted.items()}
        progress.message(f"photos  all readable; training photos {'kept in memory' if keep else 'streamed'}")

    def batches(self, *, first_step: int, num_steps: int) -> Generator[TrainingBatch, None, None]:
        """Yield this process's part of the batches of steps `first_step` to `num_steps` - 1: a function of (seed, step).

        With RandAugment, which the processor computes whatever the device, the next batch is made during a step. Whoever stops
        early has to close it.
        """
        batches = self._batches(first_step, num_steps)
        return prefetch(batches) if self._recipe.augmentation.rand_augment_layers else batches

    def _batches(self, first_step: int, num_steps: int) -> Generator[TrainingBatch, None, None]:
        plan: deque[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = deque()
        places = self._places()

        # A stream asks for photos some batches before it yields them.
        def indices_ahead() -> Iterator[NDArray[np.int64]]:
            for step in range(first_step, num_steps):
                indices, epochs = self.order.batch(step)
                plan.append((step, indices, epochs))
                yield indices[places]

        for raw in self._photos.batches(indices_ahead()):
            yield self._augmented(raw, places, *plan.popleft())

    def _places(self) -> NDArray[np.int64]:
        """Return which samples of a batch this process makes: its part, behind the one that the first is mixed with."""
        part = self._ranks.part(self._recipe.batch_size)
        places = np.arange(part.start, part.stop)
        if not self._has_neighbour():
            return places
        return np.concatenate([[(part.start - 1) % self._recipe.batch_size], places])

    def _has_neighbour(self) -> bool:
        augmentation = self._recipe.augmentation
        return self._ranks.count > 1 and (augmentation.mixup > 0.0 or augmentation.cutmix > 0.0)

    def _augmented(
        self,
        raw: RawBatch,
        places: NDArray[np.int64],
        step: int,
        batch_indices: NDArray[np.int64],
        batch_epochs: NDArray[np.int64],
    ) -> TrainingBatch:
        recipe, augmentation = self._recipe, self._recipe.augmentation
        indices = batch_indices[places]
        draws = draws_of(recipe, self.order.keys[indices], batch_epochs[places])
        images = augmented_images(recipe, raw, draws, device=self._device, num_workers=self._num_workers)
        labels = torch.nn.functional.one_hot(self._labels[torch.from_numpy(indices)], recipe.model.num_classes)
        labels = labels.to(self._device, torch.float32)
        mix = draw_mix(
            augmentation, seed=recipe.seed, step=step, batch_size=recipe.batch_size, image_size=recipe.model.image_size
        )
        part = self._ranks.part(recipe.batch_size)
        mix = None if mix is None else Mix(mix.shares[part], mix.rectangles[part])
        first = int(self._has_neighbour())
        before = (images[:1], labels[:1]) if first else (None, None)
        images = mix_images(images[first:], mix, before=before[0])
        labels = mix_labels(labels[first:], mix, smoothing=augmentation.label_smoothing, before=before[1])
        depth = None
        if recipe.model.stochastic_depth:
            depth = torch.from_numpy(draws["depth"][first:]).to(self._device, torch.float32)
        return TrainingBatch(images, labels, depth, self.order.keys[batch_indices], self._class_weights)

    def fitted(self, split: str) -> Iterable[NDArray[np.uint8]]:
        """Return the photos of a split as evaluation sees them, (H, W, 3) uint8, kept where they fit in memory."""
        if split in self._fitted:
            return self._fitted[split]
        return resized_images(self._dataset.splits[split], self.preprocessing, num_workers=self._num_workers)

    def validate(self, state: TrainState, *, check: Callable[[], None] = lambda: None) -> Metrics:
        """Score the averaged weights on the validation split in training's precision.

        `check` is called between batches; what it raises ends the validation, with the trained weights back in place.
        """
        split = self._dataset.splits["validation"]
        batches = evaluation_batches(
            self.fitted("validation"), split.labels, self.preprocessing, num_classes=len(self.class_names)
        )
        with state.averaged() as model:

            def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
                check()
                return self._logits(model, images)

            return evaluate(forward, batches, self.class_names)

    def _logits(self, model: MlpMixer, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of images (B, 3, H, W), of which each process computes a part; on every process."""
        count, size = self._ranks.count, len(images)
        mine = torch.from_numpy(images)
        if count > 1:
            share = -(-size // count)
            mine = torch.zeros(share, *images.shape[1:])
            part = images[self._ranks.rank * share : (self._ranks.rank + 1) * share]
            mine[: len(part)] = torch.from_numpy(part)
        kind = torch.device(self._device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self._recipe.precision == "bfloat16"):
            logits: Tensor = model(mine.to(self._device))
        return self._ranks.gather_rows(logits.float())[:size].cpu().numpy()


def _kept_scale(recipe: ResolvedRecipe) -> int:
    """Return how many times the image size photos are kept at, so that the smallest crop needs no enlarging, up to 4."""
    augmentation = recipe.augmentation
    smallest = augmentation.min_crop_area**0.5 if augmentation.crop == "inception" else recipe.data.crop_fraction
    return min(4, max(2, math.ceil(1.0 / smallest)))
