"""A data set once it is found: its classes, its splits, and where each photo's bytes lie. Nothing is decoded here."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from allmlp.errors import ConfigError, DataError
from allmlp.io.display import summarise

__all__ = ["ImageDataset", "Reader", "Split", "SplitName", "hold_out", "split_named"]

SplitName = Literal["train", "validation", "test"]
_SPLIT_NAMES: Mapping[str, SplitName] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def split_named(name: str) -> SplitName | None:
    """Return the split that a folder, a file or a cell of this name means in any case; None if it means none."""
    return _SPLIT_NAMES.get(name.strip().lower())


class Reader(Protocol):
    """Where the bytes of some photos lie. Small and picklable: a worker process opens the files itself."""

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of photo `index`. Raises DataError naming it when they are gone or damaged."""
        ...

    def where(self, index: int) -> str:
        """Return where a user finds photo `index`, for messages."""
        ...

    def subset(self, indices: NDArray[np.int64]) -> "Reader":
        """Return a reader of these photos in this order."""
        ...

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices in the order in which the photos lie on disk."""
        ...

    def photo_files(self) -> Iterable[Path]:
        """Return the files that the photos lie in, always in the same order; none for photos in memory."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Photos and their labels, sorted by sample ID; picklable.

    `sample_ids` are unique within the split: "<class>/<path below the class>" whatever the kind of source.
    `labels` is int64 (n,), indices into the data set's `class_names`, read-only.
    """

    sample_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    reader: Reader

    def __len__(self) -> int:
        return len(self.sample_ids)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of photo `index`. Raises DataError naming it when they are gone or damaged."""
        return self.reader.read(index)

    def where(self, index: int) -> str:
        """Return where photo `index` lies, such as "photos.zip: train/dress/x.jpg"; for messages."""
        return self.reader.where(index)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> "Split":
        """Return the photos at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        sample_ids = tuple(self.sample_ids[index] for index in chosen)
        return Split(sample_ids, _frozen(self.labels[chosen]), self.reader.subset(chosen))

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices in the order of the files on disk: the fast order for reading everything once."""
        return self.reader.storage_order()


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """Classes and splits of one source.

    `class_names` are sorted, by number where every name is one, whatever the kind of source: the same photos give the
    same labels as a folder, a zip, Parquet or CSV. Labels in a Parquet file are mapped by name; match classes by name
    everywhere. `splits` has keys among "train", "validation" and "test". `source` is what `open_dataset` takes to open it
    again, where that has opened it. `notes` tell the user what was left out or decided; each is one line. `folder` is the
    one that everything lies in; None for a file, and for what comes with allmlp.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, Split]
    source: str
    notes: tuple[str, ...] = ()
    folder: Path | None = None


def hold_out(dataset: ImageDataset, *, fraction: float, seed: int) -> ImageDataset:
    """Return `dataset` with a "validation" split: its own, or else a seeded, stratified part of "train".

    Of each class of n photos, round(fraction * n) are held out, at least 1 and at most n - 1; the only photo of a class
    stays in train, and a note says so. Which ones is decided by a hash of the seed and each sample ID: neither the order
    of files nor the kind of source matters, and photos added later leave the others' ranks as they are.

    Raises:
        ConfigError: `fraction` is not between 0 and 1.
        DataError: there is no train split to take from.
    """
    if "validation" in dataset.splits:
        return dataset
    if not 0 < fraction < 1:
        raise ConfigError(f"the fraction held out for validation is {fraction}; expected more than 0 and less than 1.")
    if "train" not in dataset.splits:
        raise DataError(
            f"{dataset.source}: there is no train split to hold validation photos out of (found: "
            f"{summarise(dataset.splits)}). Name the training photos' folder, file or split `train`."
        )
    train = dataset.splits["train"]
    held_out, single = _choose(train, num_classes=len(dataset.class_names), fraction=fraction, seed=seed)
    if not held_out.any():
        raise DataError(
            f"{dataset.source}: every class has a single photo, so none can be held out for validation. Add photos, or a "
            "split `validation`."
        )
    notes = [f"{held_out.sum():,} of {len(train):,} train photos held out for validation (seed {seed})"]
    if single:
        names = summarise(dataset.class_names[label] for label in single)
        notes.append(f"none held out of classes with a single photo: {names}")
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


def _frozen(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    labels.setflags(write=False)
    return labels
