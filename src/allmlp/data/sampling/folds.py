"""Folds for cross-validation: each photo of the train split is held out once."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.sampling.copies import Copies
from allmlp.data.sampling.stateless_random import split_draw
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape, quote, summarise

__all__ = ["NOT_HELD_OUT", "fold_datasets", "fold_of_photos", "notes_on_folds"]

NOT_HELD_OUT = -1


def fold_of_photos(dataset: ImageDataset, *, num_folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold (n,), from 0, in which each photo of the train split is held out.

    The photos of each class are spread evenly over the folds, so that every fold looks like the whole. Which fold, follows
    from a hash of the seed and the sample ID, as for `hold_out`. Copies of a photo (the same bytes) are in one fold, also if
    they are in several classes. A photo whose class would be missing from training is never held out (`NOT_HELD_OUT`): the
    only one of its class, or copies of it.

    Raises:
        ConfigError: `num_folds` is under 2.
        DataError: fewer photos can be held out than there are folds.
    """
    if num_folds < 2:
        raise ConfigError(f"the number of folds is {num_folds}; expected at least 2, such as 5.")
    train, num_classes = dataset.splits["train"], len(dataset.class_names)
    copies = Copies(train)
    folds = np.full(len(train), NOT_HELD_OUT, np.int64)
    num_photos = np.bincount(train.labels, minlength=num_classes)
    num_in_fold = np.zeros((num_folds, num_classes), np.int64)
    is_placed = np.zeros(len(train), np.bool_)
    for label in np.argsort(num_photos, kind="stable").tolist():  # rare classes first: they are the hardest to spread
        members = np.flatnonzero(train.labels == label).tolist()
        for index in sorted(
            members, key=lambda index: (split_draw(seed, train.sample_ids[index]), train.sample_ids[index])
        ):
            if is_placed[index]:
                continue
            group = copies.of(index)
            is_placed[group] = True
            added = np.bincount(train.labels[group], minlength=num_classes)
            ranked = sorted(
                range(num_folds), key=lambda fold: (num_in_fold[fold, label], num_in_fold[fold].sum(), fold)
            )
            fold = next(
                (each for each in ranked if (num_in_fold[each] + added < num_photos)[train.labels[group]].all()), None
            )
            if fold is not None:
                folds[group] = fold
                num_in_fold[fold] += added
    if len(set(folds.tolist()) - {NOT_HELD_OUT}) < num_folds:
        raise DataError(
            f"{escape(dataset.source)}: {len(train):,} photos are too few for {num_folds} folds. Add photos, use fewer folds "
            "(--folds 2), or hold out once (--folds 0)."
        )
    return folds


def fold_datasets(dataset: ImageDataset, folds: NDArray[np.int64]) -> Iterator[ImageDataset]:
    """Yield one data set per fold: its photos as "validation", all others as "train". There is no test split."""
    train = dataset.splits["train"]
    for fold in range(int(folds.max()) + 1):
        parts = {"train": _subset(train, folds != fold), "validation": _subset(train, folds == fold)}
        yield dataclasses.replace(dataset, splits=parts, notes=(), is_held_out=True, skipped=())


def notes_on_folds(dataset: ImageDataset, folds: NDArray[np.int64], *, seed: int) -> tuple[str, ...]:
    """Return notes about the folds, one line each."""
    train = dataset.splits["train"]
    num_folds, num_held_out = int(folds.max()) + 1, int((folds != NOT_HELD_OUT).sum())
    notes = [
        f"cross-validation: {num_held_out:,} of {len(train):,} photos are held out once, in {num_folds} folds (seed {seed})"
    ]
    if num_held_out < len(train):
        names = summarise(quote(dataset.class_names[label]) for label in np.unique(train.labels[folds == NOT_HELD_OUT]))
        notes.append(f"some photos are never held out, because their classes would be missing: {names}")
    return tuple(notes)


def _subset(split: Split, is_chosen: NDArray[np.bool_]) -> Split:
    return split.subset(np.flatnonzero(is_chosen))
