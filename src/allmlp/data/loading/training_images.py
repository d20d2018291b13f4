"""Decoded training images of a split: kept in memory where they fit, else streamed through decoding threads.

Both ways give the same bits. Threads, not processes: Pillow decodes without Python's lock, and there is nothing to fork, no
shared memory to run out of and no orphan to leave.
"""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.data.dataset import Split
from allmlp.data.decoding.decode import decode
from allmlp.data.preprocessing import Fit
from allmlp.errors import DataError
from allmlp.io.ordered_map import ordered_map

__all__ = ["RawBatch", "TrainingPhotos"]

Photo = NDArray[np.uint8]  # (height, width, 3) RGB

# A photo is kept at up to this aspect ratio: the far ends of a panorama would cost every batch its width.
_KEPT_ASPECT = 4


class RawBatch(NamedTuple):
    """Decoded images of one training step, not yet augmented.

    photos: (B, Hp, Wp, 3) uint8; a smaller image is in the upper left corner.
    sizes: (B, 2) int64: height and width of each photo.
    """

    photos: Photo
    sizes: NDArray[np.int64]


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
        """Return the size of all images as they would be kept, estimated from up to 32 of them."""
        sizes = []
        for index in np.unique(np.linspace(0, len(self.split) - 1, 32).astype(int)):
            with contextlib.suppress(DataError):  # a bad photo is reported by the check of all of them
                sizes.append(self._load(int(index)).nbytes)
        return int(np.mean(sizes) * len(self.split)) if sizes else 0

    def keep(self, index: int, photo: Photo) -> None:
        """Keep a decoded photo in memory; when all are kept, nothing is streamed. Threads may call it."""
        self._kept[index] = self._reduced(photo)

    def batches(self, batches_of_indices: Iterable[NDArray[np.int64]]) -> Iterator[RawBatch]:
        """Yield one batch of images per array of indices; streaming decodes ahead."""
        if len(self._kept) == len(self.split) and len({photo.shape for photo in self._kept.values()}) == 1:
            first = self._kept[0]
            self._stacked = np.empty((len(self.split), *first.shape), dtype=np.uint8)
            for index in range(len(self.split)):  # one at a time, so that memory never holds all of them twice
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


def _stack(photos: Sequence[Photo]) -> RawBatch:
    sizes = np.array([photo.shape[:2] for photo in photos], dtype=np.int64)
    height, width = sizes.max(axis=0)
    stacked = np.zeros((len(photos), height, width, 3), dtype=np.uint8)
    for row, photo in zip(stacked, photos, strict=True):
        row[: photo.shape[0], : photo.shape[1]] = photo
    return RawBatch(stacked, sizes)
