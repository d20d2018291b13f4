"""Batches for evaluation: images as the model takes them, the classes that count as correct, and a mask of the padding."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.decoding.check_photos import check_photos
from allmlp.data.decoding.decode import decode
from allmlp.data.preprocessing import Preprocessing
from allmlp.errors import DataError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.ordered_map import ordered_map

__all__ = ["Batch", "evaluation_batches", "resized_images", "split_batches"]

Image = NDArray[np.uint8]  # (height, width, 3) RGB


class Batch(NamedTuple):
    """Images as the model takes them, for evaluation.

    images: (B, 3, H, W) float32, pre-processed.
    labels: (B, K) float32 of 0 and 1: the classes that count as correct.
    mask: (B,) bool: False for rows that only fill up the batch.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.float32]
    mask: NDArray[np.bool_]


def resized_images(split: Split, preprocessing: Preprocessing, *, num_workers: int = 2) -> Iterator[Image]:
    """Yield every photo of a split as evaluation sees it, (H, W, 3) uint8, in the split's order.

    Raises:
        DataError: photos that cannot be decoded, all of them by name; evaluation never replaces one.
    """

    def load(index: int) -> Image:
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
    """Yield the `evaluation_batches` of a split, read in one thread per core, of at most `batch_size` images.

    Raises:
        DataError: photos that cannot be decoded, all of them by name.
    """
    photos = resized_images(split, preprocessing, num_workers=num_decoding_threads())
    size = max(1, min(batch_size, len(split)))  # a batch is filled up to its size
    return evaluation_batches(photos, labels, preprocessing, num_classes=num_classes, batch_size=size)


def evaluation_batches(
    photos: Iterable[Image],
    labels: Iterable[int] | Iterable[Sequence[int]],
    preprocessing: Preprocessing,
    *,
    num_classes: int,
    batch_size: int = 64,
) -> Iterator[Batch]:
    """Yield resized images (H, W, 3) in batches of B, normalised; the last batch is filled up with zeros and masked.

    `labels` are classes of the model, in 0..K-1, one per image or a set of them; `num_classes` is K.
    """
    pairs = zip(photos, labels, strict=True)
    while chunk := list(islice(pairs, batch_size)):
        images = np.zeros((batch_size, 3, *preprocessing.image_size), dtype=np.float32)
        images[: len(chunk)] = preprocessing.normalise(np.stack([photo for photo, _ in chunk]))
        rows = np.zeros((batch_size, num_classes), dtype=np.float32)
        for row, (_, label) in zip(rows, chunk, strict=False):  # the rows that fill up stay zero
            row[np.asarray(label, dtype=np.int64)] = 1.0
        yield Batch(images, rows, np.arange(batch_size) < len(chunk))
