"""Batches for evaluation: pre-processed images, the classes that count as correct, and a mask of the padding."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.decoding.check_photos import check_photos
from allmlp.data.decoding.decode import decode
from allmlp.data.preprocessing import Preparation
from allmlp.errors import DataError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.ordered_map import ordered_map

__all__ = ["Batch", "evaluation_batches", "resized_images", "split_batches"]

Image = NDArray[Any]  # what `Preparation.resize` returns: (H, W, 3) uint8 from `Preprocessing`


class Batch(NamedTuple):
    """A batch for evaluation.

    images: (B, 3, H, W) float32, pre-processed.
    labels: (B, K) float32, 1 for the classes that count as correct, else 0.
    mask: (B,) bool, False for rows of padding.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.float32]
    mask: NDArray[np.bool_]


def resized_images(split: Split, preparation: Preparation, *, num_workers: int = 2) -> Iterator[Image]:
    """Yield every photo of a split decoded and resized for evaluation, (H, W, 3) uint8, in the split's order.

    Raises:
        DataError: photos that cannot be decoded; all are listed. Evaluation never replaces a photo.
    """

    def load(index: int) -> Image:
        return preparation.resize(decode(split.read(index), name=split.where(index)))

    try:
        yield from ordered_map(load, range(len(split)), num_workers)
    except DataError:
        # Reading stopped at the first bad photo; check all photos, to list all bad ones.
        check_photos(ImageDataset((), {"train": split}, ""), splits=("train",), num_workers=num_workers, can_skip=False)
        raise


def split_batches(
    split: Split,
    labels: Iterable[int] | Iterable[Sequence[int]],
    preparation: Preparation,
    *,
    num_classes: int,
    batch_size: int,
) -> Iterator[Batch]:
    """Yield `evaluation_batches` of a split with at most `batch_size` images each, decoded in one thread per core.

    Raises:
        DataError: photos that cannot be decoded; all are listed.
    """
    images = resized_images(split, preparation, num_workers=num_decoding_threads())
    size = max(1, min(batch_size, len(split)))  # less padding for a small split
    return evaluation_batches(images, labels, preparation, num_classes=num_classes, batch_size=size)


def evaluation_batches(
    images: Iterable[Image],
    labels: Iterable[int] | Iterable[Sequence[int]],
    preparation: Preparation,
    *,
    num_classes: int,
    batch_size: int = 64,
) -> Iterator[Batch]:
    """Yield resized images (H, W, 3) in normalised batches of B; the last batch is padded with zeros, which are masked.

    `labels` has, per image, a class of the model in 0..K-1 or a set of such classes; `num_classes` is K.
    """
    pairs = zip(images, labels, strict=True)
    while chunk := list(islice(pairs, batch_size)):
        normalised = np.zeros((batch_size, 3, *preparation.image_size), dtype=np.float32)
        normalised[: len(chunk)] = preparation.normalise(np.stack([image for image, _ in chunk]))
        rows = np.zeros((batch_size, num_classes), dtype=np.float32)
        for row, (_, label) in zip(rows, chunk, strict=False):  # rows of padding stay zero
            row[np.asarray(label, dtype=np.int64)] = 1.0
        yield Batch(normalised, rows, np.arange(batch_size) < len(chunk))
