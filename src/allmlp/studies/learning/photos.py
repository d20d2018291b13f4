"""The photos of a study: all decoded, in memory, at one size."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data import ImageDataset, Preprocessing, Split, resized_images
from allmlp.errors import DataError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.display import Report, escape

__all__ = ["LabelledPhotos", "StudyPhotos", "read_photos"]


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
    """What a study trains on, and what it is scored on once training has ended or at fixed steps; nothing is chosen by it."""

    train: LabelledPhotos
    scored: LabelledPhotos
    class_names: Sequence[str]


def read_photos(dataset: ImageDataset, image_size: tuple[int, int], *, report: Report) -> StudyPhotos:
    """Decode the training photos, and those of the test split, or of the validation split if there is no other.

    Raises:
        DataError: one of these is missing, or a photo cannot be decoded.
    """
    scored = next((name for name in ("test", "validation") if name in dataset.splits), None)
    if "train" not in dataset.splits or scored is None:
        raise DataError(
            f"{escape(dataset.source)}: a study needs a train split and a test split; found {', '.join(dataset.splits)}."
        )
    report(f"photos of {escape(dataset.source)} are decoded at {image_size[0]} x {image_size[1]} pixels")
    train, test = (_decoded(dataset.splits[name], image_size) for name in ("train", scored))
    return StudyPhotos(train, test, dataset.class_names)


def _decoded(split: Split, image_size: tuple[int, int]) -> LabelledPhotos:
    images = np.empty((len(split), *image_size, 3), np.uint8)
    preprocessing = Preprocessing(image_size=image_size)
    for index, image in enumerate(resized_images(split, preprocessing, num_workers=num_decoding_threads())):
        images[index] = image
    return LabelledPhotos(images, np.asarray(split.labels))
