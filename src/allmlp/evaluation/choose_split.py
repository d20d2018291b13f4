"""Which photos of a data set are meant: a split by name, divided as the checkpoint's run divided it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from allmlp.checkpoints import STARTER
from allmlp.data import ImageDataset, Split, split_named
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape
from allmlp.runs.saved_split import saved_split

__all__ = [
    "ChosenSplit",
    "FewShotSplits",
    "choose_few_shot_splits",
    "choose_split",
    "default_split",
    "divide_as_run",
    "split_of_run",
]


class ChosenSplit(NamedTuple):
    """The photos to score, what to call them, and what has to be known about them; `remark` may be empty."""

    name: str
    photos: Split
    remark: str


class FewShotSplits(NamedTuple):
    """The photos that examples are drawn from, and those that are scored."""

    train: Split
    scored: ChosenSplit


def split_of_run(source: str | Path) -> Mapping[str, list[str]]:
    """Return sample IDs by split as the run of a checkpoint kept them; nothing when it is not in a run folder.

    Raises:
        CheckpointError: the run's split cannot be read.
    """
    return {} if source == STARTER else saved_split(Path(source))


def choose_split(dataset: ImageDataset, saved: Mapping[str, list[str]], wanted: str | None) -> ChosenSplit:
    """Return the photos of the split that is wanted; of None, test, else validation, else train.

    `saved` is the `split_of_run` of the model.

    Raises:
        ConfigError: there is no such split.
    """
    splits, is_divided = divide_as_run(dataset, saved)
    name = split_named(wanted or "") or wanted  # val and valid mean validation, as everywhere
    name = name or default_split(splits)
    if name not in splits:
        raise ConfigError(f"--split {name}: {dataset.source} has no such split. It has: {', '.join(splits)}.")
    remark = ""
    if is_divided and name != "test":
        remark = "Divided as the run's split.json says."
    elif list(splits) == ["train"]:
        remark = "These are all photos."
    num_known = _num_known(splits[name], saved)
    if name == "train" and num_known:
        remark += f" The model was trained on {num_known:,} photos of the same names: if they are these, a score says too much."
    return ChosenSplit(name, splits[name], remark.strip())


def choose_few_shot_splits(dataset: ImageDataset, saved: Mapping[str, list[str]], wanted: str | None) -> FewShotSplits:
    """Return train, and the split that is wanted to be scored; of None, test, else validation.

    Raises:
        ConfigError: there is no such split, or train was wanted.
        DataError: there is no train split, or nothing but it.
    """
    splits, is_divided = divide_as_run(dataset, saved)
    source, found = escape(dataset.source), ", ".join(splits)
    if split_named(wanted or "") == "train":
        raise ConfigError("--split train: --shots draws its examples from train; score it on test or validation.")
    if "train" not in splits:
        raise DataError(
            f"{source}: --shots draws its examples from a train split; there is only {found}. Name the training photos' "
            "folder, file or split `train`."
        )
    if len(splits) == 1:
        raise DataError(
            f"{source}: --shots needs a test or validation split to score in addition to train; there is only {found}. Put "
            "some photos of each class into a split of their own, as {train,test}/<class>/..."
        )
    name, photos, _ = choose_split(dataset, saved, wanted)
    remark = "Divided as the run's split.json says." if is_divided else ""
    num_known = _num_known(splits["train"], saved)
    if num_known:
        remark += (
            f" The model was trained on {num_known:,} train photos of the same names: its features fit them too well to choose "
            "a regularisation by them."
        )
    return FewShotSplits(splits["train"], ChosenSplit(name, photos, remark.strip()))


def default_split(splits: Mapping[str, Split]) -> str:
    """Return test, else validation, else train."""
    return next(name for name in ("test", "validation", "train") if name in splits)


def divide_as_run(dataset: ImageDataset, saved: Mapping[str, list[str]]) -> tuple[dict[str, Split], bool]:
    """Divide the train photos as the run did, when they are the photos that the run had; say whether they are."""
    splits: dict[str, Split] = dict(dataset.splits)
    if "validation" in splits or "train" not in splits or not {"train", "validation"} <= set(saved):
        return splits, False
    photos = splits["train"]
    # Where both parts have photos of the same name, none was held out of the other: these may be the train photos alone.
    if sorted(photos.sample_ids) != sorted([*saved["train"], *saved["validation"]]):
        return splits, False
    for name in ("train", "validation"):
        members = set(saved[name])
        splits[name] = photos.subset(
            [index for index, sample_id in enumerate(photos.sample_ids) if sample_id in members]
        )
    return splits, True


def _num_known(split: Split, saved: Mapping[str, list[str]]) -> int:
    return len(set(split.sample_ids) & set(saved.get("train", ())))
