"""Photos that cannot be used: left out of a data set if the user asks for it, and listed."""

import csv
import dataclasses
import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from allmlp.data.dataset import ImageDataset, SkippedPhoto
from allmlp.data.decoding.check_photos import problems_of
from allmlp.errors import ConfigError, DataError
from allmlp.io.atomic_write import write_bytes
from allmlp.io.display import counted, escape, summarise
from allmlp.io.path_problem import check_regular

__all__ = [
    "BAD_PHOTOS",
    "BadPhotos",
    "check_choice",
    "read_skipped",
    "skip_bad_photos",
    "without",
    "write_skipped",
]

BadPhotos = Literal["stop", "skip"]
"""What to do if photos cannot be decoded: "stop" names all of them, "skip" leaves them out and names them."""

BAD_PHOTOS: tuple[BadPhotos, ...] = ("stop", "skip")

_HEADER = ["split", "sample_id", "problem"]


def check_choice(value: str) -> BadPhotos:
    """Return `value` if it is a choice of `BadPhotos`.

    Raises:
        ConfigError: it is not.
    """
    for choice in BAD_PHOTOS:
        if value == choice:
            return choice
    raise ConfigError(f"bad_photos is {value!r}; expected 'stop' or 'skip'.")


def skip_bad_photos(
    dataset: ImageDataset, *, num_workers: int, progress: Callable[[int, int], None] | None = None
) -> ImageDataset:
    """Return a data set without the photos that cannot be decoded; every photo is decoded to find them.

    Raises:
        DataError: no photo of a split, or of a class in train, can be decoded.
    """
    problems = problems_of(dataset, splits=tuple(dataset.splits), num_workers=num_workers, progress=progress)
    return without(
        dataset,
        [
            SkippedPhoto(name, dataset.splits[name].sample_ids[index], problem)
            for name, found in problems.items()
            for index, problem in found.items()
        ],
    )


def without(dataset: ImageDataset, skipped: Iterable[SkippedPhoto]) -> ImageDataset:
    """Return a data set without these photos: `skipped` has them, and a note counts them.

    Raises:
        DataError: nothing is left of a split, or of a class in train.
    """
    skipped = tuple(skipped)
    if not skipped:
        return dataset
    left_out: dict[str, set[str]] = defaultdict(set)
    for photo in skipped:
        left_out[photo.split].add(photo.sample_id)
    splits = {}
    for name, split in dataset.splits.items():
        kept = [index for index, sample_id in enumerate(split.sample_ids) if sample_id not in left_out[name]]
        splits[name] = split if len(kept) == len(split) else split.subset(kept)
        lost = {int(label) for label in np.setdiff1d(split.labels, splits[name].labels)} if name == "train" else set()
        nothing_left = [f"the split {name}"] if not kept else [f"class {dataset.class_names[label]}" for label in lost]
        if nothing_left:
            examples = summarise((photo.problem for photo in skipped if photo.split == name), limit=3)
            raise DataError(
                f"{escape(dataset.source)}: no photo of {summarise(nothing_left)} can be used, so they cannot be skipped: "
                f"{examples}"
            )
    note = (
        f"{counted(len(skipped), 'photo')} cannot be used and {'is' if len(skipped) == 1 else 'are'} skipped: "
        + summarise((photo.sample_id for photo in skipped), limit=3)
    )
    return dataclasses.replace(dataset, splits=splits, notes=(*dataset.notes, note), skipped=skipped)


def write_skipped(path: Path, skipped: Iterable[SkippedPhoto]) -> None:
    """Write one row per skipped photo: its split, its sample ID, and why it cannot be used.

    Raises:
        ConfigError: the disk is full or the folder is not writable.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_HEADER)
    rows.writerows(skipped)
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))


def read_skipped(path: Path) -> list[SkippedPhoto]:
    """Return the photos that `write_skipped` wrote; none if there is no file.

    Raises:
        ConfigError: the file cannot be read, or is of another form.
    """
    if not path.exists():
        return []
    try:
        check_regular(path)
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.reader(file, strict=True))
        if rows[:1] != [_HEADER] or any(len(row) != len(_HEADER) for row in rows):
            raise ValueError(f"expected the columns {', '.join(_HEADER)}")
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as the skipped photos of a run ({error}). Restore it.") from error
    return [SkippedPhoto(*row) for row in rows[1:]]
