"""Data set types: class names, splits, and readers of the encoded photos. Nothing is decoded here."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from allmlp.errors import AllmlpError
from allmlp.io.display import counted, escape, shorten

__all__ = ["ImageDataset", "Reader", "SkippedPhoto", "Split", "SplitName", "default_split", "with_notes"]

SplitName = Literal["train", "validation", "test"]

_MAX_SOURCE = 80  # characters in a repr


def default_split(names: Iterable[str]) -> str:
    """Return the split to score if the user names none: test, else validation or cross-validation, else train.

    Raises:
        ValueError: none of the three is among `names`.
    """
    present = set(names)
    chosen = next((name for name in ("test", "validation", "cross-validation", "train") if name in present), None)
    if chosen is None:
        raise ValueError("there is no split")
    return chosen


class Reader(Protocol):
    """Reads encoded photos. Small and picklable: each worker process opens the files itself."""

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of photo `index`. Raises DataError, naming it, if they are missing or damaged."""
        ...

    def where(self, index: int) -> str:
        """Return the location of photo `index` for messages."""
        ...

    def subset(self, indices: NDArray[np.int64]) -> "Reader":
        """Return a reader of the photos at `indices`, in that order."""
        ...

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices in the order in which the photos are stored on disk."""
        ...

    def sizes(self) -> NDArray[np.int64] | None:
        """Return the number of bytes of each photo, -1 where it is unknown; None if they are known only after reading."""
        ...

    def photo_files(self) -> Iterable[Path]:
        """Return the files that hold the photos, always in the same order; empty for photos in memory."""
        ...


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Photos and their labels, sorted by sample ID. Picklable.

    `sample_ids` are unique within the split: "<class>/<path below the class>" for every kind of source.
    `labels` is int64 (n,), read-only: indices into the data set's `class_names`.
    """

    sample_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    reader: Reader

    def __repr__(self) -> str:
        return f"Split({counted(len(self), 'photo')} of {counted(len(np.unique(self.labels)), 'class', 'classes')})"

    def __len__(self) -> int:
        return len(self.sample_ids)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of photo `index`. Raises DataError, naming it, if they are missing or damaged."""
        return self.reader.read(index)

    def where(self, index: int) -> str:
        """Return the location of photo `index` for messages, such as "photos.zip: train/dress/x.jpg"."""
        return self.reader.where(index)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> "Split":
        """Return the photos at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        sample_ids = tuple(self.sample_ids[index] for index in chosen)
        return Split(sample_ids, _frozen(self.labels[chosen]), self.reader.subset(chosen))

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices in the order of the files on disk, the fastest order for reading everything once."""
        return self.reader.storage_order()


class SkippedPhoto(NamedTuple):
    """A photo that was left out, and why it cannot be used."""

    split: str
    sample_id: str
    problem: str


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """Classes and splits of one source.

    `class_names` are sorted, numerically if all are numbers, so that the same photos have the same labels as a folder, a zip,
    Parquet or CSV. Labels in a Parquet file are mapped by name; match classes by name everywhere. The keys of `splits` are
    among "train", "validation" and "test". `source` and `options` are the arguments with which `open_dataset` opens the data
    set again. `notes` tell the user what was left out or decided, one line each; `left_out` is the reason for each split that
    is there but unusable. `folder` holds the whole data set; None for a single file and for data sets that are part of the
    package. `is_held_out` states that validation was held out of train. `skipped` are the photos that were left out because
    they cannot be used.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, Split]
    source: str
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    is_held_out: bool = False
    skipped: tuple[SkippedPhoto, ...] = ()
    left_out: Mapping[SplitName, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        classes = counted(len(self.class_names), "class", "classes")
        return f"ImageDataset({shorten(escape(self.source), _MAX_SOURCE)}: {classes}; {sizes} photos)"

    @contextlib.contextmanager
    def notes_with_errors(self) -> Iterator[None]:
        """Add the notes to an error that follows: what was left out or decided may be its cause."""
        try:
            yield
        except AllmlpError as error:
            error.args = (with_notes(str(error), self.notes),)
            raise


def with_notes(message: str, notes: Sequence[str]) -> str:
    """Return an error message followed by the notes on the data, one line each."""
    return "\n".join([message, *(f"note: {note}" for note in notes)])


def _frozen(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    labels.setflags(write=False)
    return labels
