"""Plan of moves: from which path to which path each photo goes, before anything is touched."""

import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from allmlp.data.cleaning.choices import Choice
from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.sources.file_reader import FileReader
from allmlp.errors import DataError, did_you_mean
from allmlp.io.display import bullets, escape, quote

__all__ = ["PhotoMove", "photo_path", "plan_moves", "removed_folder"]


class PhotoMove(NamedTuple):
    """A photo, where it goes (a free name near it if that one is taken), and the SHA-256 that it must have."""

    source: Path
    target: Path
    sha256: str


class _Photo(NamedTuple):
    split: str
    sample_id: str
    label: int


def photo_path(split: Split, index: int) -> str:
    """Return the path of a photo below the folder of a data set, or where it is in a file of several photos."""
    return split.reader.paths[index] if isinstance(split.reader, FileReader) else split.where(index)


def removed_folder(photos: Path) -> Path:
    """Return the folder next to the folder `photos` that takes the photos that are removed from it."""
    folder = Path(os.path.abspath(photos))  # noqa: PTH100 - resolve would follow links: next to the name that the user knows
    return folder.with_name(f"{folder.name}-removed")


def plan_moves(
    dataset: ImageDataset, digests: Mapping[str, Mapping[str, str]], choices: Sequence[Choice]
) -> list[PhotoMove]:
    """Return the moves that a user chose.

    "move" keeps the split and whatever is below the folder of the class. `digests` are the SHA-256 by split and sample ID of
    the photos that a run read; its validation photos may come from train.

    Raises:
        DataError: the photos are not a folder of files, or a choice names an unknown photo or class.
    """
    root = _folder_of(dataset)
    photos = {
        photo_path(split, index): _Photo(name, split.sample_ids[index], int(split.labels[index]))
        for name, split in dataset.splits.items()
        for index in range(len(split))
    }
    folders = _class_folders(dataset, photos)
    moves, problems = [], []
    for choice in choices:
        try:
            photo = _find(choice, photos, dataset)
            digest = _digest(photo, digests)
            moves.append(PhotoMove(root / choice.path, _target(choice, photo, dataset, folders, root), digest))
        except ValueError as error:
            problems.append(f"line {choice.line:,}: {escape(choice.path)}: {error}")
    if problems:
        raise DataError(f"{escape(dataset.source)}: nothing was moved:\n{bullets(problems)}")
    return moves


def _folder_of(dataset: ImageDataset) -> Path:
    readers = [split.reader for split in dataset.splits.values()]
    if dataset.folder is not None and all(isinstance(reader, FileReader) for reader in readers):
        return Path(os.path.abspath(dataset.folder))  # noqa: PTH100 - see `removed_folder`
    if dataset.source.lower().endswith(".csv"):
        advice = "correct the labels in that table, or delete lines from it: it decides the classes, not the folders."
    elif dataset.source.lower().endswith(".zip"):
        advice = "unpack it, and train on the folder; then the actions can be applied there."
    else:
        advice = (
            "save its photos as a folder with one sub-folder per class, and train on that; or correct the labels there."
        )
    raise DataError(f"{escape(dataset.source)}: only photos in a folder can be moved. Instead, {advice}")


def _find(choice: Choice, photos: Mapping[str, _Photo], dataset: ImageDataset) -> _Photo:
    if choice.path not in photos:
        raise ValueError("there is no such photo any more; if it was moved already, remove this line")
    photo = photos[choice.path]
    if choice.action == "move" and choice.to not in dataset.class_names:
        raise ValueError(f"there is no class {quote(choice.to)}.{did_you_mean(choice.to, dataset.class_names)}")
    if choice.action == "move" and choice.to == dataset.class_names[photo.label]:
        raise ValueError(f"it is in class {quote(choice.to)} already")
    return photo


def _digest(photo: _Photo, digests: Mapping[str, Mapping[str, str]]) -> str:
    splits = ("test",) if photo.split == "test" else (photo.split, "train", "validation")
    found = [digests[name][photo.sample_id] for name in splits if photo.sample_id in digests.get(name, {})]
    if not found:
        raise ValueError("the run did not read this photo, so that its content is unknown")
    return found[0]


def _target(
    choice: Choice, photo: _Photo, dataset: ImageDataset, folders: Mapping[tuple[str, str], PurePosixPath], root: Path
) -> Path:
    if choice.action == "delete":
        return removed_folder(root) / choice.path
    given = _class_folder(choice.path, photo, dataset)
    folder = folders.get((photo.split, choice.to), given.with_name(choice.to))
    return root / folder / PurePosixPath(choice.path).relative_to(given)


def _class_folders(dataset: ImageDataset, photos: Mapping[str, _Photo]) -> dict[tuple[str, str], PurePosixPath]:
    """Return the folder of each class by split: its name may be another Unicode form of the class."""
    folders: dict[tuple[str, str], PurePosixPath] = {}
    for path, photo in photos.items():
        key = (photo.split, dataset.class_names[photo.label])
        if key not in folders:
            try:
                folders[key] = _class_folder(path, photo, dataset)
            except ValueError:
                continue  # reported if this photo is to be moved
    return folders


def _class_folder(path: str, photo: _Photo, dataset: ImageDataset) -> PurePosixPath:
    """Return the folder, below the data set's, that gives a photo its class: a sample ID is the path from there on."""
    name, parts = dataset.class_names[photo.label], _parts(path)
    num_below = photo.sample_id.removeprefix(name).count("/")
    folder = PurePosixPath(*parts[: len(parts) - num_below])
    if unicodedata.normalize("NFC", folder.name) != name:
        raise ValueError(f"its class {quote(name)} is not the name of a folder around it")
    return folder


def _parts(path: str) -> Sequence[str]:
    return PurePosixPath(path).parts
