"""Reader of photos in Parquet files: one open file and a few pages' parts per photo, in any order."""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.data.decoding.limits import MAX_PHOTO_BYTES
from allmlp.data.decoding.reasons import raise_shortage
from allmlp.data.sources.parquet_values.footer import file_state
from allmlp.data.sources.parquet_values.guard import parquet_reason
from allmlp.data.sources.parquet_values.pages import Chunk
from allmlp.data.sources.parquet_values.values import ByteValues, locate
from allmlp.errors import DataError
from allmlp.io.bounded_cache import BoundedCache
from allmlp.io.display import escape

__all__ = ["ParquetReader"]

_ROW_BYTES = 24  # of an index of a row group
_indexes: BoundedCache[ByteValues] = BoundedCache(2**28)  # of 11 million photos


@dataclasses.dataclass(frozen=True, eq=False)
class ParquetReader:
    """Reads the rows of one or more files as if they were concatenated.

    The first read of a row group finds where its photos are; later ones read only the bytes of one photo, or unpack its
    page. Nothing is shared between processes. `states[i]` is the state of `files[i]` when it was opened; `chunks`,
    `group_files` and `group_ends` are the photos' column, the file, and the row after the last one, of each row group;
    `rows` int64 (n,) are the rows of the photos, and `paths` their paths as the rows give them.
    """

    files: tuple[Path, ...]
    states: tuple[tuple[int, int], ...]
    chunks: tuple[Chunk, ...]
    group_files: NDArray[np.int64]
    group_ends: NDArray[np.int64]
    rows: NDArray[np.int64]
    paths: tuple[str | None, ...]

    def read(self, index: int) -> bytes:
        """Return the row's bytes. Raises DataError if the file is missing or has changed, or the row has no bytes."""
        row = int(self.rows[index])
        group = int(np.searchsorted(self.group_ends, row, side="right"))
        start = int(self.group_ends[group - 1]) if group else 0
        try:
            content = self._value(group, row - start)
        except Exception as error:  # whatever a damaged page causes, and the lack of memory or files
            raise_shortage(error, where=self.where(index))
            raise DataError(f"{self.where(index)}: this photo cannot be read: {parquet_reason(error)}.") from error
        if content is None:
            raise DataError(
                f"{self.where(index)}: this row has no image bytes. Store the encoded photos in the Parquet file."
            )
        return content

    def _value(self, group: int, row: int) -> bytes | None:
        number = int(self.group_files[group])
        path, chunk = self.files[number], self.chunks[group]
        with path.open("rb") as file:
            state = file_state(file.fileno())
            if state != self.states[number]:
                raise ValueError("the file has changed since it was opened")
            key = (path.absolute(), state)
            values = _indexes.get((*key, chunk.offset), _ROW_BYTES * chunk.num_values, lambda: locate(file, chunk, key))
            num_bytes = values.num_bytes(row)
            if num_bytes > MAX_PHOTO_BYTES:
                raise ValueError(f"larger than {MAX_PHOTO_BYTES:,} bytes")
            return values.read(file, row)

    def where(self, index: int) -> str:
        """Return "train.parquet: row 17 (dress/x.webp)"; rows are counted from 0 in each file."""
        row = int(self.rows[index])
        group = int(np.searchsorted(self.group_ends, row, side="right"))
        number = int(self.group_files[group])
        first = int(np.searchsorted(self.group_files, number))
        start = int(self.group_ends[first - 1]) if first else 0
        path = self.paths[index]
        return escape(f"{self.files[number]}: row {row - start}" + (f" ({path})" if path else ""))

    def subset(self, indices: NDArray[np.int64]) -> "ParquetReader":
        """Return a reader of the rows at `indices`, in that order."""
        paths = tuple(self.paths[index] for index in indices)
        return dataclasses.replace(self, rows=self.rows[indices], paths=paths)

    def sizes(self) -> None:
        """Return None: the rows have to be read."""

    def photo_files(self) -> tuple[Path, ...]:
        """Return the paths of the files."""
        return self.files

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices, ordered by row."""
        return np.argsort(self.rows, kind="stable")
