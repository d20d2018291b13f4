"""The photos of a study: all decoded, in memory, at one size."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data import ImageDataset, Preprocessing, Split, resized_images
from allmlp.errors import DataError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.display import Report, escape

__all__ = ["LabelledPhotos", "StudyPhotos", "decoded", "read_photos", "scored_split"]


class LabelledPhotos(NamedTuple):
    """Photos and their classes.

    images: (N, H, W, 3) uint8.
    labels: (N,) int64.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def subset(self, indices: NDArray[np.int64]) -> "LabelledPhotos":
        """Return the photos with these indices, in their order."""
        return LabelledPhotos(self.images[indices], self.labels[indices])


class StudyPhotos(NamedTuple):
    """What a network trains on, and what it is scored on at the end or at fixed steps; scores change nothing in training."""

    train: LabelledPhotos
    scored: LabelledPhotos
    class_names: Sequence[str]


def read_photos(dataset: ImageDataset, image_size: tuple[int, int], *, report: Report) -> StudyPhotos:
    """Decode the training photos, and those of the test split, or of the validation split if there is no other.

    Raises:
        DataError: one of these is missing, or a photo cannot be decoded.
    """
    scored = scored_split(dataset)
    report(f"photos of {escape(dataset.source)} are decoded at {image_size[0]} x {image_size[1]} pixels")
    train = decoded(dataset.splits["train"], image_size)
    return StudyPhotos(train, decoded(scored, image_size), dataset.class_names)


def scored_split(dataset: ImageDataset) -> Split:
    """Return the test split, or the validation split if there is no other.

    Raises:
        DataError: there is neither, or no train split.
    """
    name = next((name for name in ("test", "validation") if name in dataset.splits), None)
    if "train" not in dataset.splits or name is None:
        raise DataError(
            f"{escape(dataset.source)}: a study needs a train split and a test split; found {', '.join(dataset.splits)}."
        )
    return dataset.splits[name]


def decoded(split: Split, image_size: tuple[int, int]) -> LabelledPhotos:
    """Return the photos of a split at one size, in their order.

    Raises:
        DataError: a photo cannot be decoded.
    """
    images = np.empty((len(split), *image_size, 3), np.uint8)
    preprocessing = Preprocessing(image_size=image_size)
    for index, image in enumerate(resized_images(split, preprocessing, num_workers=num_decoding_threads())):
        images[index] = image
    return LabelledPhotos(images, np.asarray(split.labels))
