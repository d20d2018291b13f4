"""Which photos of a data set a command is about: a split by name, divided as the checkpoint's run divided it."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from allmlp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allmlp.data import ImageDataset, Split

__all__ = ["Choice", "choose", "divided", "saved_split"]


class Choice(NamedTuple):
    """The photos to score, and what to call them."""

    name: str
    photos: "Split"
    remark: str


def saved_split(source: str) -> "Mapping[str, list[str]]":
    """Return sample IDs by split as the run kept them; nothing when the checkpoint is not in a run folder."""
    from allmlp.checkpoints import STARTER
    from allmlp.runs.saved_split import saved_split as read_split

    return {} if source == STARTER else read_split(Path(source))


def choose(dataset: "ImageDataset", saved: "Mapping[str, list[str]]", wanted: str | None) -> Choice:
    """Return the photos of the split that is wanted; of none, test, else validation, else train.

    Raises:
        ConfigError: there is no such split.
    """
    from allmlp.data import split_named

    splits, is_divided = divided(dataset, saved)
    name = split_named(wanted or "") or wanted  # val and valid mean validation, as everywhere
    name = name or next(name for name in ("test", "validation", "train") if name in splits)
    if name not in splits:
        raise ConfigError(f"--split {name}: {dataset.source} has no such split. It has: {', '.join(splits)}.")
    remark = ""
    if is_divided and name != "test":
        remark = "Divided as the run's split.json says."
    elif list(splits) == ["train"]:
        remark = "These are all photos."
    num_known = len(set(splits[name].sample_ids) & set(saved.get("train", ())))
    if name == "train" and num_known:
        remark += f" The model was trained on {num_known:,} photos of the same names: if they are these, a score says too much."
    return Choice(name, splits[name], remark.strip())


def divided(dataset: "ImageDataset", saved: "Mapping[str, list[str]]") -> "tuple[dict[str, Split], bool]":
    """Divide the train photos as the run did, when they are the photos that the run had; say whether they are."""
    splits = dict(dataset.splits)
    if "validation" in splits or "train" not in splits or not {"train", "validation"} <= set(saved):
        return splits, False
    photos = splits["train"]
    # Where both parts have photos of one name, none was held out of the other: these may be the train photos alone.
    if sorted(photos.sample_ids) != sorted([*saved["train"], *saved["validation"]]):
        return splits, False
    for name in ("train", "validation"):
        members = set(saved[name])
        splits[name] = photos.subset([index for index, one in enumerate(photos.sample_ids) if one in members])
    return splits, True
