"""Hold-out: validation photos taken from the train split of a data set without a validation split."""

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, Split
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape, summarise

__all__ = ["hold_out"]


def hold_out(dataset: ImageDataset, *, fraction: float, seed: int) -> ImageDataset:
    """Return `dataset` with a "validation" split: its own, or else a seeded, stratified part of "train".

    From each class of n photos, round(fraction * n) are held out, at least 1 and at most n - 1. The only photo of a class
    stays in train, and a note reports it. The choice depends on a hash of the seed and the sample ID: neither the order of
    files nor the kind of source matters, and photos added later do not change the ranks of the others.

    Raises:
        ConfigError: `fraction` is not between 0 and 1.
        DataError: there is no train split, or every class has a single photo.
    """
    if "validation" in dataset.splits:
        return dataset
    if not 0 < fraction < 1:
        raise ConfigError(f"the fraction held out for validation is {fraction}; expected more than 0 and less than 1.")
    if "train" not in dataset.splits:
        raise DataError(
            f"{escape(dataset.source)}: there is no train split from which to hold out validation photos (found: "
            f"{summarise(dataset.splits)}). Name the folder, file or split of the training photos `train`."
        )
    train = dataset.splits["train"]
    held_out, single = _choose(train, num_classes=len(dataset.class_names), fraction=fraction, seed=seed)
    if not held_out.any():
        raise DataError(
            f"{escape(dataset.source)}: every class has a single photo, so none can be held out for validation. Add photos "
            "or a split `validation`."
        )
    notes = [f"{held_out.sum():,} of {len(train):,} train photos held out for validation (seed {seed})"]
    if single:
        names = summarise(dataset.class_names[label] for label in single)
        notes.append(f"none held out from classes with a single photo: {names}")
    splits = {
        "train": train.subset(np.flatnonzero(~held_out)),
        "validation": train.subset(np.flatnonzero(held_out)),
        **{name: split for name, split in dataset.splits.items() if name != "train"},
    }
    return dataclasses.replace(dataset, splits=splits, notes=(*dataset.notes, *notes))


def _choose(train: Split, *, num_classes: int, fraction: float, seed: int) -> tuple[NDArray[np.bool_], list[int]]:
    held_out = np.zeros(len(train), np.bool_)
    single = []
    for label in range(num_classes):
        members = np.flatnonzero(train.labels == label)
        if len(members) == 1:
            single.append(label)
        if len(members) < 2:
            continue
        ranked = sorted(members, key=lambda index: (_draw(seed, train.sample_ids[index]), train.sample_ids[index]))
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held_out[ranked[:count]] = True
    return held_out, single


def _draw(seed: int, sample_id: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{sample_id}".encode()).digest()
