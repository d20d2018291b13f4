"""The photos of a task: those that choose the learning rate, and those of the last training."""

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data import ImageDataset, Split, hold_out, join_splits, sample_keys
from allmlp.errors import DataError
from allmlp.io.display import escape, summarise
from allmlp.studies.tasks.task import VTAB_HELD_OUT, VTAB_PHOTOS, Task

__all__ = ["TaskPhotos", "divided"]

# The same photos are drawn for all checkpoints, learning rates and seeds.
_DRAW_SEED = 0


class TaskPhotos(NamedTuple):
    """The photos of a task.

    choice: "train", and "validation" to choose the learning rate on; no test photos.
    last: "train" with all of these photos, and "test". Its "validation" photos are among the training photos, because a run
        needs some; they choose nothing.
    is_drawn: whether the photos of VTAB-1k were drawn here from more, so that they are not the published 1,000.
    """

    choice: ImageDataset
    last: ImageDataset
    is_drawn: bool


def divided(task: Task, dataset: ImageDataset) -> TaskPhotos:
    """Return the photos of a task by the paper's rule for it.

    For Avg 5, the photos of train and validation are trained on in the end, and a share of them chooses the learning rate.
    For VTAB-1k, 800 and 200 of them. Without a test split, the validation split is the test split.

    Raises:
        DataError: there is no train split or nothing to test on, or there are too few photos.
    """
    test = next((name for name in ("test", "validation") if name in dataset.splits), None)
    if "train" not in dataset.splits or test is None:
        raise DataError(
            f"{escape(dataset.source)}: a task needs a train split and a test split; found {summarise(dataset.splits)}."
        )
    parts = {name: split for name, split in dataset.splits.items() if name != test}
    if task.held_out is None:
        choice, whole, is_drawn = _vtab_photos(parts, dataset.source)
    else:
        whole = parts["train"] if set(parts) == {"train"} else join_splits(parts)
        held = hold_out(dataclasses.replace(dataset, splits={"train": whole}), fraction=task.held_out, seed=_DRAW_SEED)
        choice, is_drawn = dict(held.splits), False
    last = {"train": whole, "validation": choice["validation"], "test": dataset.splits[test]}
    return TaskPhotos(_with_splits(dataset, choice), _with_splits(dataset, last), is_drawn)


def _vtab_photos(parts: dict[str, Split], source: str) -> tuple[dict[str, Split], Split, bool]:
    """Return the 800 and 200 photos that choose the learning rate, all of them, and whether they were drawn from more."""
    num_train = VTAB_PHOTOS - VTAB_HELD_OUT
    sizes = {name: len(split) for name, split in parts.items()}
    if sizes["train"] >= num_train and sizes.get("validation", 0) >= VTAB_HELD_OUT:
        wanted = {"train": num_train, "validation": VTAB_HELD_OUT}
        choice = {name: _drawn(parts[name], count) for name, count in wanted.items()}
        return choice, join_splits(choice), sizes != wanted
    if sizes["train"] < VTAB_PHOTOS:
        raise DataError(
            f"{escape(source)}: {sizes['train']:,} training photos; VTAB-1k needs {VTAB_PHOTOS:,}, of which {VTAB_HELD_OUT} "
            f"choose the learning rate, or {num_train} in train and {VTAB_HELD_OUT} in validation."
        )
    train = parts["train"]
    held_out, rest = np.split(_ranked(train)[:VTAB_PHOTOS], [VTAB_HELD_OUT])
    choice = {"train": train.subset(np.sort(rest)), "validation": train.subset(np.sort(held_out))}
    return choice, _drawn(train, VTAB_PHOTOS), sizes["train"] != VTAB_PHOTOS


def _ranked(split: Split) -> NDArray[np.int64]:
    """Return all indices in a fixed random order, which follows from the names of the photos."""
    return np.argsort(sample_keys(split.sample_ids), kind="stable").astype(np.int64)


def _drawn(split: Split, count: int) -> Split:
    return split.subset(np.sort(_ranked(split)[:count]))


def _with_splits(dataset: ImageDataset, splits: dict[str, Split]) -> ImageDataset:
    return dataclasses.replace(dataset, splits=splits, notes=(), is_held_out=True)
