"""Hold-out: validation photos taken from the train split of a data set without a validation split."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.sampling.copies import Copies
from allmlp.data.sampling.stateless_random import split_draw
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape, summarise

__all__ = ["held_out_as", "hold_out"]


def hold_out(dataset: ImageDataset, *, fraction: float, seed: int) -> ImageDataset:
    """Return `dataset` with a "validation" split: its own, or else a seeded, stratified part of "train".

    From each class of n photos, round(fraction * n) are held out, at least 1 and at most n - 1. The only photo of a class
    stays in train, and a note reports it. The choice depends on a hash of the seed and the sample ID: neither the order of
    files nor the kind of source matters, and photos added later do not change the ranks of the others.

    Copies of a photo (the same bytes) stay in one split, also if they are in several classes, so that a class may have more
    or fewer photos held out. Only photos with the size of another photo are read, where sizes are known.

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
            f"{escape(dataset.source)}: every class has a single photo (copies count once), so none can be held out for "
            "validation. Add photos or a split `validation`."
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
    return dataclasses.replace(dataset, splits=splits, notes=(*dataset.notes, *notes), is_held_out=True)


def held_out_as(dataset: ImageDataset, saved: Mapping[str, Sequence[str]]) -> ImageDataset | None:
    """Return `dataset` with the validation photos that a run held out; None if its train photos are not the run's.

    `saved` are the run's sample IDs by split.
    """
    if "validation" in dataset.splits or "train" not in dataset.splits or not {"train", "validation"} <= set(saved):
        return None
    train = dataset.splits["train"]
    # Sorted lists, not sets: a sample ID in both saved splits means that validation was not held out of train, so these may
    # be only the run's train photos.
    if sorted(train.sample_ids) != sorted([*saved["train"], *saved["validation"]]):
        return None
    held_out = set(saved["validation"])
    is_held_out = np.array([sample_id in held_out for sample_id in train.sample_ids], np.bool_)
    parts = {
        "train": train.subset(np.flatnonzero(~is_held_out)),
        "validation": train.subset(np.flatnonzero(is_held_out)),
    }
    notes = (
        *dataset.notes,
        f"{is_held_out.sum():,} of {len(train):,} train photos held out for validation, as in the run",
    )
    return dataclasses.replace(dataset, splits={**dataset.splits, **parts}, notes=notes, is_held_out=True)


def _choose(train: Split, *, num_classes: int, fraction: float, seed: int) -> tuple[NDArray[np.bool_], list[int]]:
    is_held_out = np.zeros(len(train), np.bool_)
    num_photos = np.bincount(train.labels, minlength=num_classes)
    num_held_out = np.zeros(num_classes, np.int64)
    copies = Copies(train)
    single = []
    for label in np.flatnonzero(num_photos).tolist():
        members = np.flatnonzero(train.labels == label)
        ranked = sorted(members, key=lambda index: (split_draw(seed, train.sample_ids[index]), train.sample_ids[index]))
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        for limit in (count, len(members)):  # a group that is larger than `count` only if nothing else can be held out
            for index in ranked:
                if num_held_out[label] >= count or (limit > count and num_held_out[label]):
                    break
                group = copies.of(int(index))
                added = np.bincount(train.labels[group], minlength=num_classes)
                fits = num_held_out[label] + added[label] <= limit
                leaves_photos = (num_held_out + added < num_photos)[train.labels[group]].all()
                if fits and leaves_photos and not is_held_out[index]:
                    is_held_out[group] = True
                    num_held_out += added
        if not num_held_out[label]:
            single.append(label)
    return is_held_out, single
