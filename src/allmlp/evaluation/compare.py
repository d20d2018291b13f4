"""Comparison of the outputs of two models on the same photos."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ModelDescription
from allmlp.data import FileReader, Split, default_split, list_folder, open_dataset, resized_images
from allmlp.errors import DataError
from allmlp.evaluation.class_matching import match_classes
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.inference import RunnableModel
from allmlp.io.display import escape

__all__ = ["UNNAMED", "ComparedPhotos", "Comparison", "compare", "photos_by_split", "photos_to_compare"]

UNNAMED = ""
"""The split of the photos of a folder without labels, which has no splits."""

_BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The differences between the outputs of two models, called before and after.

    Attributes:
        photos: a description of the photos, for display.
        num_photos: how many there are.
        largest: the largest absolute output of the model before.
        largest_change: the largest absolute difference between the outputs.
        num_changed: photos whose predicted class differs; None for models without classes.
        top1: (before, after); None if the photos are unlabelled or the model does not know all of their classes.
    """

    photos: str
    num_photos: int
    largest: float
    largest_change: float
    num_changed: int | None
    top1: tuple[float, float] | None


class ComparedPhotos(NamedTuple):
    """The photos to compare on; `labels` are indices of the model's classes, int64 (n,), or None without usable labels."""

    split: Split
    labels: NDArray[np.int64] | None
    description: str


def compare(before: RunnableModel, after: RunnableModel, data: str | Path) -> Comparison:
    """Compare two models with the same pre-processing on the photos of a data set or of a folder without labels.

    Raises:
        DataError: no photos at `data`, or a photo that cannot be decoded.
    """
    photos = photos_to_compare(data, before.description)
    largest = change = 0.0
    predictions: list[NDArray[np.int64]] = []  # (2, B): the predicted class of each photo, before and after
    for old, new in _outputs(before, after, photos.split):
        largest, change = max(largest, float(np.abs(old).max())), max(change, float(np.abs(old - new).max()))
        predictions.append(np.stack([old.argmax(axis=1), new.argmax(axis=1)]))
    num_changed = top1 = None
    if before.description.config.num_classes:
        predicted = np.concatenate(predictions, axis=1)
        num_changed = int((predicted[0] != predicted[1]).sum())
        if photos.labels is not None:
            old_top1, new_top1 = (predicted == photos.labels).mean(axis=1)
            top1 = float(old_top1), float(new_top1)
    return Comparison(
        photos=photos.description,
        num_photos=len(photos.split),
        largest=largest,
        largest_change=change,
        num_changed=num_changed,
        top1=top1,
    )


def photos_to_compare(data: str | Path, model: ModelDescription) -> ComparedPhotos:
    """Return the photos of a data set (test, else validation, else train), or of a folder without labels.

    Raises:
        DataError: no photos at `data`.
    """
    found = photos_by_split(data, model)
    return found[UNNAMED if UNNAMED in found else default_split(found)]


def photos_by_split(data: str | Path, model: ModelDescription) -> dict[str, ComparedPhotos]:
    """Return the photos of each split of a data set, or those of a folder without labels as `UNNAMED`.

    Raises:
        DataError: no photos at `data`.
    """
    try:
        dataset = open_dataset(data)
    except DataError:
        if not Path(data).is_dir():
            raise
        return {UNNAMED: _unlabelled(Path(data))}
    indices = None
    with contextlib.suppress(DataError):  # a class that the model does not know
        indices = match_classes(dataset.class_names, model, where=dataset.source)
    remark = "" if indices is not None else "; no accuracy, because the model does not know all of its classes"
    found: dict[str, ComparedPhotos] = {}
    for name, split in dataset.splits.items():
        place = "" if set(dataset.splits) == {"train"} else f", {name}"
        labels = None if indices is None else indices[split.labels]
        text = f"the {len(split):,} photos of {escape(dataset.source)}{place}{remark}"
        found[name] = ComparedPhotos(split, labels, text)
    return found


def _unlabelled(folder: Path) -> ComparedPhotos:
    paths = tuple(sorted(list_folder(folder).photos))
    if not paths:
        raise DataError(f"{escape(folder)}: there are no photos in this folder.")
    split = Split(paths, np.zeros(len(paths), np.int64), FileReader(folder, paths))
    return ComparedPhotos(split, None, f"the {len(paths):,} photos of {escape(folder)}, which have no labels")


def _outputs(
    before: RunnableModel, after: RunnableModel, split: Split
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    preprocessing = before.description.preprocessing
    photos = resized_images(split, preprocessing, num_workers=num_decoding_threads())
    while chunk := list(islice(photos, _BATCH_SIZE)):
        images = preprocessing.normalise(np.stack(chunk))
        yield before.forward(images), after.forward(images)
