"""Photos that cannot be used: left out of a data set if the user asks for it, and listed."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from allmlp.data.dataset import ImageDataset, SkippedPhoto
from allmlp.data.decoding.check_photos import problems_of
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import bullets, counted, escape, quote, summarise
from allmlp.runs.photo_table import read_table, write_table

__all__ = ["BadPhotos", "is_skipping", "read_skipped", "skip_bad_photos", "skip_photos", "write_skipped"]

BadPhotos = Literal["stop", "skip"]
"""What to do if photos cannot be decoded: "stop" names all of them, "skip" leaves them out and names them."""

_HEADER = ("split", "sample_id", "problem")


def is_skipping(bad_photos: BadPhotos) -> bool:
    """Return whether bad photos are to be skipped.

    Raises:
        ConfigError: `bad_photos` is neither "stop" nor "skip".
    """
    if bad_photos not in ("stop", "skip"):
        raise ConfigError(f"bad_photos is {bad_photos!r}; expected 'stop' or 'skip'.")
    return bad_photos == "skip"


def skip_bad_photos(
    dataset: ImageDataset, *, num_workers: int, progress: Callable[[int, int], None] | None = None
) -> ImageDataset:
    """Return a data set without the photos that cannot be decoded; every photo is decoded to find them.

    Raises:
        DataError: no photo of a split, or of a class in train, can be decoded.
    """
    problems = problems_of(dataset, splits=tuple(dataset.splits), num_workers=num_workers, progress=progress)
    return skip_photos(
        dataset,
        [
            SkippedPhoto(name, dataset.splits[name].sample_ids[index], problem)
            for name, found in problems.items()
            for index, problem in found.items()
        ],
    )


def skip_photos(dataset: ImageDataset, skipped: Iterable[SkippedPhoto]) -> ImageDataset:
    """Return a data set without these photos, which `ImageDataset.skipped` lists and a note counts.

    Another note names the classes that a scoring split loses.

    Raises:
        DataError: nothing is left of a split, or of a class in train.
    """
    skipped = tuple(skipped)
    if not skipped:
        return dataset
    left_out: dict[str, set[str]] = defaultdict(set)
    for photo in skipped:
        left_out[photo.split].add(photo.sample_id)
    splits, losses = {}, []
    for name, split in dataset.splits.items():
        kept = [index for index, sample_id in enumerate(split.sample_ids) if sample_id not in left_out[name]]
        splits[name] = split if len(kept) == len(split) else split.subset(kept)
        lost = set(np.setdiff1d(split.labels, splits[name].labels).tolist())
        if lost and name != "train" and kept:
            losses.append(
                f"{name} has no photos left of {summarise(quote(dataset.class_names[i]) for i in sorted(lost))}"
            )
        elif lost:
            labels = dict(zip(split.sample_ids, split.labels.tolist(), strict=True))
            problems = [
                photo.problem for photo in skipped if photo.split == name and labels.get(photo.sample_id) in lost
            ]
            classes = (f"class {dataset.class_names[label]}" for label in sorted(lost))
            raise DataError(
                f"{escape(dataset.source)}: no photo of {summarise(classes) if kept else f'the split {name}'} can be used, so "
                f"they cannot be skipped. Replace them, or remove all of them:\n{bullets(map(escape, problems), limit=3)}"
            )
    note = (
        f"{counted(len(skipped), 'photo')} cannot be used and {'is' if len(skipped) == 1 else 'are'} skipped: "
        + summarise((photo.sample_id for photo in skipped), limit=3)
    )
    return dataclasses.replace(dataset, splits=splits, notes=(*dataset.notes, note, *losses), skipped=skipped)


def write_skipped(path: Path, skipped: Iterable[SkippedPhoto]) -> None:
    """Write one row per skipped photo: its split, its sample ID, and why it cannot be used.

    Raises:
        ConfigError: the disk is full or the folder is not writable.
    """
    write_table(path, _HEADER, skipped)


def read_skipped(path: Path) -> list[SkippedPhoto]:
    """Return the photos that `write_skipped` wrote; [] if there is no file.

    Raises:
        ConfigError: the file cannot be read, or is not what `write_skipped` writes.
    """
    if not path.exists():
        return []
    return [SkippedPhoto(*row) for row in read_table(path, _HEADER, what="the skipped photos", advice="Restore it.")]
