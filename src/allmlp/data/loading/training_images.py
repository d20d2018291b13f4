"""From a split to batches. Photos that fit in memory are decoded once; others stream through decoding threads.

Both ways give the same bits. Threads, not processes: Pillow decodes without Python's lock, and there is nothing to fork, no
shared memory to run out of and no orphan to leave.
"""

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.data.augmentation.config import Fit
from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.decoding.check_photos import check_photos
from allmlp.data.decoding.decode import decode
from allmlp.data.preprocessing import Preprocessing
from allmlp.data.sampling.class_balance import BalancedOrder
from allmlp.data.sampling.stateless_random import epoch_order, sample_keys
from allmlp.errors import DataError
from allmlp.io.ordered_map import ordered_map

__all__ = [
    "Batch",
    "RawBatch",
    "TrainingOrder",
    "TrainingPhotos",
    "evaluation_batches",
    "resized_images",
    "split_batches",
]

Photo = NDArray[np.uint8]  # (height, width, 3) RGB

# A photo is kept at up to this aspect ratio: the far ends of a panorama would cost every batch its width.
_KEPT_ASPECT = 4


class Batch(NamedTuple):
    """Photos as the model takes them, for evaluation.

    images: (B, 3, H, W) float32, pre-processed.
    labels: (B, K) float32 of 0 and 1: the classes that count as right.
    mask: (B,) bool: False for rows that only fill up the batch.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.float32]
    mask: NDArray[np.bool_]


class RawBatch(NamedTuple):
    """Decoded photos of one training step, not yet augmented.

    photos: (B, Hp, Wp, 3) uint8; a smaller photo stands in the upper left corner.
    sizes: (B, 2) int64: height and width of each photo.
    """

    photos: Photo
    sizes: NDArray[np.int64]


class TrainingOrder:
    """Which sample stands where in training: a function of (seed, step) alone.

    Epochs follow each other without a seam: a batch may end one and begin the next, so that every sample is seen equally
    often whatever the batch size, and a data set smaller than a batch needs no rule of its own.

    With `balanced_labels` (n,), the class of each sample, every class comes equally often instead; see `BalancedOrder`.
    """

    def __init__(
        self,
        sample_ids: Sequence[str],
        *,
        seed: int,
        batch_size: int,
        balanced_labels: NDArray[np.int64] | None = None,
    ) -> None:
        self.keys = sample_keys(sample_ids)
        self.seed = seed
        self.batch_size = batch_size
        self._balanced = None if balanced_labels is None else BalancedOrder(self.keys, balanced_labels, seed=seed)
        self._epochs: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def epochs_done(self, step: int) -> int:
        """Return how many epochs are complete after `step` steps."""
        return step * self.batch_size // len(self.keys)

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices (B,) of step `step`, counted from 0, and the epoch (B,) in which each is seen.

        What is balanced has passes in place of epochs: the how manieth time each sample comes, counted from 0.
        """
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, offsets = np.divmod(positions, len(self.keys))
        needed = np.unique(epochs)
        self._epochs = {
            int(epoch): self._epochs[epoch] if epoch in self._epochs else self._epoch(int(epoch)) for epoch in needed
        }
        parts = [(self._epochs[int(epoch)], offsets[epochs == epoch]) for epoch in needed]
        indices = np.concatenate([indices[places] for (indices, _), places in parts])
        return indices, np.concatenate([passes[places] for (_, passes), places in parts])

    def _epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self._balanced is not None:
            return self._balanced.epoch(epoch)
        return epoch_order(self.seed, epoch, self.keys), np.full(len(self.keys), epoch, dtype=np.int64)


class TrainingPhotos:
    """The decoded photos of a split, kept in memory or streamed.

    Photos are reduced, never enlarged, to `kept_scale` times what `fit` makes of them at `image_size` (height, width).

    Attributes:
        split: where they come from.
    """

    def __init__(
        self, split: Split, *, image_size: tuple[int, int], fit: Fit, num_workers: int, kept_scale: int = 2
    ) -> None:
        self.split = split
        self._kept_scale = kept_scale
        self._num_workers = num_workers
        self._image_size = image_size
        self._fit = fit
        self._kept: dict[int, Photo] = {}
        self._stacked: Photo | None = None

    def estimated_bytes(self) -> int:
        """Return the size of all photos as they would be kept, from up to 32 of them."""
        sizes = []
        for index in np.unique(np.linspace(0, len(self.split) - 1, 32).astype(int)):
            with contextlib.suppress(DataError):  # a bad photo is reported by the check of all of them
                sizes.append(self._load(int(index)).nbytes)
        return int(np.mean(sizes) * len(self.split)) if sizes else 0

    def keep(self, index: int, photo: Photo) -> None:
        """Keep a decoded photo in memory; when all are kept, nothing is streamed. Threads may call it."""
        self._kept[index] = self._reduced(photo)

    def batches(self, batches_of_indices: Iterable[NDArray[np.int64]]) -> Iterator[RawBatch]:
        """Yield one batch of photos for each array of indices; streaming decodes ahead."""
        if len(self._kept) == len(self.split) and len({photo.shape for photo in self._kept.values()}) == 1:
            first = self._kept[0]
            self._stacked = np.empty((len(self.split), *first.shape), dtype=np.uint8)
            for index in range(len(self.split)):  # one by one: at no time is everything there twice
                self._stacked[index] = self._kept.pop(index)
        if self._stacked is not None:
            size = np.array(self._stacked.shape[1:3], dtype=np.int64)
            for indices in batches_of_indices:
                yield RawBatch(self._stacked[indices], np.tile(size, (len(indices), 1)))
        elif len(self._kept) == len(self.split):
            for indices in batches_of_indices:
                yield _stack([self._kept[int(index)] for index in indices])
        else:
            yield from self._streamed(batches_of_indices)

    def _streamed(self, batches_of_indices: Iterable[NDArray[np.int64]]) -> Iterator[RawBatch]:
        lengths: deque[int] = deque()

        def flat() -> Iterator[int]:
            for indices in batches_of_indices:
                lengths.append(len(indices))
                yield from (int(index) for index in indices)

        batch: list[Photo] = []
        for photo in ordered_map(self._load, flat(), self._num_workers):
            batch.append(photo)
            if len(batch) == lengths[0]:
                lengths.popleft()
                yield _stack(batch)
                batch = []

    def _load(self, index: int) -> Photo:
        photo = decode(self.split.read(index), name=self.split.where(index))
        return self._reduced(photo)

    def _reduced(self, photo: Photo) -> Photo:
        height, width = photo.shape[:2]
        if self._fit == "crop":
            height, width = min(height, _KEPT_ASPECT * width), min(width, _KEPT_ASPECT * height)
            top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
            photo = photo[top : top + height, left : left + width]
        scales = [
            self._kept_scale * target / side for target, side in zip(self._image_size, (height, width), strict=True)
        ]
        if self._fit != "squash":  # both sides by one scale
            scales = [max(scales) if self._fit == "crop" else min(scales)] * 2
        size = tuple(
            min(side, max(1, round(side * scale))) for side, scale in zip((height, width), scales, strict=True)
        )
        if size == (height, width):
            return np.ascontiguousarray(photo)
        return np.array(Image.fromarray(photo).resize(size[::-1], Image.Resampling.BOX))


def resized_images(split: Split, preprocessing: Preprocessing, *, num_workers: int = 2) -> Iterator[Photo]:
    """Yield every photo of a split as evaluation sees it, (H, W, 3) uint8, in the split's order.

    Raises:
        DataError: photos that cannot be decoded, all of them by name; evaluation never replaces one.
    """

    def load(index: int) -> Photo:
        return preprocessing.resize(decode(split.read(index), name=split.where(index)))

    try:
        yield from ordered_map(load, range(len(split)), num_workers)
    except DataError:
        # It stopped at the first bad photo: read them all, so that all are named.
        check_photos(ImageDataset((), {"train": split}, ""), splits=("train",), num_workers=num_workers)
        raise


def split_batches(
    split: Split,
    labels: Iterable[int] | Iterable[Sequence[int]],
    preprocessing: Preprocessing,
    *,
    num_classes: int,
    batch_size: int,
) -> Iterator[Batch]:
    """Yield the `evaluation_batches` of a split, read in a thread a core, of at most `batch_size` photos.

    Raises:
        DataError: photos that cannot be decoded, all of them by name.
    """
    photos = resized_images(split, preprocessing, num_workers=min(os.cpu_count() or 1, 16))
    size = max(1, min(batch_size, len(split)))  # a batch is filled up to its size
    return evaluation_batches(photos, labels, preprocessing, num_classes=num_classes, batch_size=size)


def evaluation_batches(
    photos: Iterable[Photo],
    labels: Iterable[int] | Iterable[Sequence[int]],
    preprocessing: Preprocessing,
    *,
    num_classes: int,
    batch_size: int = 64,
) -> Iterator[Batch]:
    """Yield fitted photos (H, W, 3) in batches of B, normalised; the last batch is filled up with zeros and masked.

    `labels` are classes of the model, in 0..K-1, one for each photo, or a set of them; `num_classes` is K.
    """
    pairs = zip(photos, labels, strict=True)
    while chunk := list(islice(pairs, batch_size)):
        images = np.zeros((batch_size, 3, *preprocessing.image_size), dtype=np.float32)
        images[: len(chunk)] = preprocessing.normalise(np.stack([photo for photo, _ in chunk]))
        rows = np.zeros((batch_size, num_classes), dtype=np.float32)
        for row, (_, label) in zip(rows, chunk, strict=False):  # the rows that fill up stay zero
            row[np.asarray(label, dtype=np.int64)] = 1.0
        yield Batch(images, rows, np.arange(batch_size) < len(chunk))


def _stack(photos: Sequence[Photo]) -> RawBatch:
    sizes = np.array([photo.shape[:2] for photo in photos], dtype=np.int64)
    height, width = sizes.max(axis=0)
    stacked = np.zeros((len(photos), height, width, 3), dtype=np.uint8)
    for row, photo in zip(stacked, photos, strict=True):
        row[: photo.shape[0], : photo.shape[1]] = photo
    return RawBatch(stacked, sizes)
