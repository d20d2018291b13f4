"""Splits of a data set joined to one, such as train and validation for a last training on both."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import Reader, Split

__all__ = ["JoinedReader", "join_splits"]


@dataclasses.dataclass(frozen=True, eq=False)
class JoinedReader:
    """Reads photo `index` as photo `rows[index]` of `readers[owners[index]]`; both are int64 (n,)."""

    readers: tuple[Reader, ...]
    owners: NDArray[np.int64]
    rows: NDArray[np.int64]

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of photo `index`. Raises DataError, naming it, if they are missing or damaged."""
        return self.readers[int(self.owners[index])].read(int(self.rows[index]))

    def where(self, index: int) -> str:
        """Return the location of photo `index` for messages."""
        return self.readers[int(self.owners[index])].where(int(self.rows[index]))

    def subset(self, indices: NDArray[np.int64]) -> "JoinedReader":
        """Return a reader of the photos at `indices`, in that order."""
        owners, rows = self.owners[indices], np.zeros(len(indices), np.int64)
        readers = []
        for number, reader in enumerate(self.readers):
            chosen = np.flatnonzero(owners == number)
            readers.append(reader.subset(self.rows[indices][chosen]))
            rows[chosen] = np.arange(len(chosen))
        return JoinedReader(tuple(readers), owners, rows)

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices, one reader's after the other's, each in the order of its files."""
        ranks = np.zeros(len(self.rows), np.int64)
        for number, reader in enumerate(self.readers):
            chosen = np.flatnonzero(self.owners == number)
            ranks[chosen] = np.argsort(reader.storage_order())[self.rows[chosen]]
        return np.lexsort((ranks, self.owners)).astype(np.int64)

    def sizes(self) -> NDArray[np.int64] | None:
        """Return the number of bytes of each photo, -1 where it is unknown; None if one reader knows none."""
        found = [reader.sizes() for reader in self.readers]
        known = [sizes for sizes in found if sizes is not None]
        if len(known) < len(found):
            return None
        return np.array([known[owner][row] for owner, row in zip(self.owners, self.rows, strict=True)], np.int64)

    def photo_files(self) -> tuple[Path, ...]:
        """Return the files that hold the photos."""
        return tuple(path for reader in self.readers for path in reader.photo_files())


def join_splits(splits: Mapping[str, Split]) -> Split:
    """Return the photos of several splits of a data set as one, their sample IDs preceded by the name of their split.

    Without that, two photos could have one ID: "cat/1.jpg" in train and in validation.
    """
    parts = list(splits.values())
    sample_ids = tuple(f"{name}/{sample_id}" for name, split in splits.items() for sample_id in split.sample_ids)
    reader = JoinedReader(
        tuple(split.reader for split in parts),
        np.repeat(np.arange(len(parts)), [len(split) for split in parts]),
        np.concatenate([np.arange(len(split)) for split in parts]),
    )
    joined = Split(sample_ids, np.concatenate([split.labels for split in parts]), reader)
    return joined.subset(sorted(range(len(joined)), key=sample_ids.__getitem__))
