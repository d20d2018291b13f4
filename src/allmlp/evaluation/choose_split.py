"""Choice of the photos to score: a split by name, divided as in the run of the checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from allmlp.checkpoints import STARTER
from allmlp.data import ImageDataset, Split, default_split, held_out_as, split_named
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape
from allmlp.runs.saved_split import saved_split

__all__ = [
    "ChosenSplit",
    "FewShotSplits",
    "choose_few_shot_splits",
    "choose_split",
    "divide_as_run",
    "split_of_run",
]


class ChosenSplit(NamedTuple):
    """The photos to score and the name of their split; `remark` is a caveat to show with the score, "" for none."""

    name: str
    photos: Split
    remark: str


class FewShotSplits(NamedTuple):
    """The photos from which examples are drawn, and the photos to score."""

    train: Split
    scored: ChosenSplit


def split_of_run(source: str | Path) -> Mapping[str, list[str]]:
    """Return the sample IDs of each split as saved by a checkpoint's run; empty if the checkpoint is not in a run folder.

    Raises:
        CheckpointError: the run's saved split cannot be read.
    """
    return {} if source == STARTER else saved_split(Path(source))


def choose_split(
    dataset: ImageDataset, saved: Mapping[str, list[str]], wanted: str | None, *, compare_names: bool = True
) -> ChosenSplit:
    """Return the photos of the split `wanted`; None takes test, else validation, else train.

    `saved` is the model's `split_of_run`. The remark counts photos with names of photos that the model was trained on, unless
    `compare_names` is False because the bytes of those are known.

    Raises:
        ConfigError: the data set has no such split.
    """
    splits, is_divided = divide_as_run(dataset, saved)
    name = default_split(splits) if wanted is None else split_named(wanted) or wanted  # "val" means validation
    if name not in splits:
        raise ConfigError(_no_such_split(dataset, name, splits))
    remark = ""
    if is_divided and name != "test":
        remark = "Split as in the run's split.json."
    elif list(splits) == ["train"]:
        remark = "These are all photos of the data set."
    num_trained_on = _num_trained_on(splits[name], saved)
    if compare_names and name == "train" and num_trained_on:
        remark += (
            f" The model was trained on {num_trained_on:,} photos with the same names: if they are the same photos, its score "
            "is too optimistic."
        )
    return ChosenSplit(name, splits[name], remark.strip())


def choose_few_shot_splits(
    dataset: ImageDataset, saved: Mapping[str, list[str]], wanted: str | None, *, compare_names: bool = True
) -> FewShotSplits:
    """Return the train split and the split to score, `wanted`; None takes test, else validation.

    `saved` and `compare_names` are as in `choose_split`.

    Raises:
        ConfigError: the data set has no such split, or `wanted` is train.
        DataError: there is no train split, or no other split.
    """
    splits, is_divided = divide_as_run(dataset, saved)
    source, found = escape(dataset.source), ", ".join(splits)
    if "train" in splits and len(np.unique(splits["train"].labels)) < 2:
        raise DataError(f"{source}: train has photos of only one class; --shots needs at least two.")
    if split_named(wanted or "") == "train":
        raise ConfigError("--split train: --shots draws its examples from train. Choose test or validation to score.")
    if "train" not in splits:
        raise DataError(
            f"{source}: --shots draws its examples from a train split, but there is only {found}. Name the folder, file or "
            "split of the training photos `train`."
        )
    if len(splits) == 1:
        raise DataError(
            f"{source}: --shots needs a test or validation split to score in addition to train, but there is only {found}. "
            "Move some photos of each class into a separate split: {train,test}/<class>/..."
        )
    name, photos, _ = choose_split(dataset, saved, wanted)
    remark = "Split as in the run's split.json." if is_divided else ""
    num_trained_on = _num_trained_on(splits["train"], saved)
    if compare_names and num_trained_on:
        remark += (
            f" The model was trained on {num_trained_on:,} photos with the same names as train photos: if they are the same "
            "photos, its features fit them too well to choose the regularisation on them."
        )
    return FewShotSplits(splits["train"], ChosenSplit(name, photos, remark.strip()))


def _no_such_split(dataset: ImageDataset, name: str, splits: Mapping[str, Split]) -> str:
    reason = next((reason for split, reason in dataset.left_out.items() if split == name), "")
    why = f": {reason}" if reason else ""
    return (
        f"--split {escape(name)}: {escape(dataset.source)} has no such split{' with labels' if reason else ''}{why}. "
        f"It has: {', '.join(splits)}."
    )


def divide_as_run(dataset: ImageDataset, saved: Mapping[str, list[str]]) -> tuple[dict[str, Split], bool]:
    """Divide the train photos into train and validation as the run did, if they are the run's photos.

    Returns the splits and whether they were divided.
    """
    divided = held_out_as(dataset, saved)
    return dict((divided or dataset).splits), divided is not None


def _num_trained_on(split: Split, saved: Mapping[str, list[str]]) -> int:
    return len(set(split.sample_ids) & set(saved.get("train", ())))
