"""Decoded training images of a split, kept in memory or streamed by decoding threads.

Both give the same bits. Threads, not processes: Pillow decodes without the GIL, and threads need no fork and no shared memory
and leave no orphaned processes.
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
from allmlp.data.laws import Fit
from allmlp.data.resizing.axes import resize_by_axes
from allmlp.errors import DataError
from allmlp.io.ordered_map import ordered_map

__all__ = ["RawBatch", "TrainingImages"]

RgbImage = NDArray[np.uint8]  # (height, width, 3)

# Images are cropped to this aspect ratio, because otherwise a panorama would determine the width of its batch.
_KEPT_ASPECT = 4


class RawBatch(NamedTuple):
    """Decoded images of one training step, not yet augmented.

    images: (B, Hp, Wp, 3) uint8; smaller images are in the upper left corner.
    sizes: (B, 2) int64, height and width of each image.
    """

    images: NDArray[np.uint8]
    sizes: NDArray[np.int64]


class TrainingImages:
    """The decoded photos of a split, kept in memory or streamed.

    Images are reduced, never enlarged, to `kept_scale` times their size after `fit` to `image_size` (height, width).

    Attributes:
        split: the photos.
    """

    def __init__(
        self, split: Split, *, image_size: tuple[int, int], fit: Fit, num_workers: int, kept_scale: int = 2
    ) -> None:
        self.split = split
        self._kept_scale = kept_scale
        self._num_workers = num_workers
        self._image_size = image_size
        self._fit = fit
        self._kept: dict[int, RgbImage] = {}
        self._stacked: NDArray[np.uint8] | None = None

    def estimated_bytes(self) -> int:
        """Return the memory that all images would take, estimated from up to 32 of them."""
        sizes = []
        for index in np.unique(np.linspace(0, len(self.split) - 1, 32).astype(int)):
            with contextlib.suppress(DataError):  # bad photos are reported by `check_photos`
                sizes.append(self._load(int(index)).nbytes)
        return int(np.mean(sizes) * len(self.split)) if sizes else 0

    def keep(self, index: int, image: RgbImage) -> None:
        """Keep a decoded photo in memory; once all are kept, nothing is streamed. Thread-safe."""
        self._kept[index] = self._reduced(image)

    def batches(self, batches_of_indices: Iterable[NDArray[np.int64]]) -> Iterator[RawBatch]:
        """Yield one batch per array of indices. Streaming decodes ahead."""
        if len(self._kept) == len(self.split) and len({image.shape for image in self._kept.values()}) == 1:
            first = self._kept[0]
            self._stacked = np.empty((len(self.split), *first.shape), dtype=np.uint8)
            for index in range(len(self.split)):  # one by one, so that memory never holds all images twice
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

        batch: list[RgbImage] = []
        for image in ordered_map(self._load_checked, flat(), self._num_workers):
            batch.append(image)
            if len(batch) == lengths[0]:
                lengths.popleft()
                yield _stack(batch)
                batch = []

    def _load(self, index: int) -> RgbImage:
        return self._reduced(decode(self.split.read(index), name=self.split.where(index)))

    def _load_checked(self, index: int) -> RgbImage:
        # All photos are decoded once before the first step (`check_photos`).
        return self._reduced(decode(self.split.read(index), name=self.split.where(index), is_checked=True))

    def _reduced(self, image: RgbImage) -> RgbImage:
        height, width = image.shape[:2]
        if self._fit == "crop":
            height, width = min(height, _KEPT_ASPECT * width), min(width, _KEPT_ASPECT * height)
            top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
            image = image[top : top + height, left : left + width]
        scales = [
            self._kept_scale * target / side for target, side in zip(self._image_size, (height, width), strict=True)
        ]
        if self._fit != "squash":  # both sides have the same scale
            scales = [max(scales) if self._fit == "crop" else min(scales)] * 2
        size = tuple(
            min(side, max(1, round(side * scale))) for side, scale in zip((height, width), scales, strict=True)
        )
        if size == (height, width):
            return np.ascontiguousarray(image)
        return np.array(resize_by_axes(Image.fromarray(image), size[::-1], Image.Resampling.BOX))


def _stack(images: Sequence[RgbImage]) -> RawBatch:
    sizes = np.array([image.shape[:2] for image in images], dtype=np.int64)
    height, width = sizes.max(axis=0)
    stacked = np.zeros((len(images), height, width, 3), dtype=np.uint8)
    for row, image in zip(stacked, images, strict=True):
        row[: image.shape[0], : image.shape[1]] = image
    return RawBatch(stacked, sizes)
