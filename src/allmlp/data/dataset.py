"""A data set once it is found: its classes, its splits, and where each photo's bytes are. Nothing is decoded here."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageDataset", "Reader", "Split", "SplitName", "split_named"]

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
    """Where the bytes of photos are. Small and picklable: a worker process opens the files itself."""

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
        """Return all indices in the order in which the photos are on disk."""
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
        """Return where photo `index` is, such as "photos.zip: train/dress/x.jpg"; for messages."""
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

    `class_names` are sorted, by number where every name is a number, whatever the kind of source: the same photos give the
    same labels as a folder, a zip, Parquet or CSV. Labels in a Parquet file are mapped by name; match classes by name
    everywhere. `splits` has keys among "train", "validation" and "test". `source` is what `open_dataset` takes to open it
    again, where that has opened it. `notes` tell the user what was left out or decided; each is one line. `folder` is the
    one that holds everything; None for a file, and for what comes with allmlp.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, Split]
    source: str
    notes: tuple[str, ...] = ()
    folder: Path | None = None


def _frozen(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    labels.setflags(write=False)
    return labels
