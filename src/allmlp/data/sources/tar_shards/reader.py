"""Reader of photos in tar shards: one open file and one read per photo, in any order, compared with the index."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.data.decoding.reasons import ShortageError, raise_shortage
from allmlp.data.sources.file_reader import file_problem
from allmlp.data.sources.tar_shards.index import ShardIndex
from allmlp.data.sources.tar_shards.remote_shards import RemoteShards
from allmlp.errors import DataError
from allmlp.io.display import escape

__all__ = ["TarReader"]


@dataclasses.dataclass(frozen=True, eq=False)
class TarReader:
    """Reads the photos at `rows` of an index, a range or int64 (n,); its shards are relative to the folder `root`.

    The index is mapped into memory, not copied: worker processes share the pages of its file. With `remote`, a shard is
    downloaded when its first photo is read.
    """

    root: Path
    index: ShardIndex
    rows: range | NDArray[np.int64]
    remote: RemoteShards | None = None

    def read(self, index: int) -> bytes:
        """Return the photo's bytes. Raises DataError if its shard is missing or cut short, or the photo has changed.

        It is a ShortageError if that is so of the copy of a shard at an address: nothing is known about the photo.
        """
        row = int(self.rows[index])
        path = self._shard(row)
        if self.remote is not None:
            try:
                path = self.remote.fetch(self._name(row))
            except DataError as error:  # nothing is known about the photo
                raise ShortageError(str(error)) from error
        problem = file_problem(path)
        if problem is None:
            num_bytes = int(self.index.sizes[row])
            try:
                with path.open("rb") as file:
                    file.seek(int(self.index.offsets[row]))
                    content = file.read(num_bytes)
            except (OSError, MemoryError) as error:
                raise_shortage(error, where=self.where(index))
                problem = (getattr(error, "strerror", None) or str(error)).lower()
            else:
                if len(content) < num_bytes:
                    problem = "the shard is cut short; restore it"
                elif hashlib.sha256(content).digest() == self.index.digest(row):
                    return content
                else:
                    problem = "the shard has changed since it was indexed; restore it, or open it again"
        if self.remote is not None:
            problem = f"its shard in the cache has changed; delete {escape(path)}"
            raise ShortageError(f"{self.where(index)}: this photo cannot be read: {problem}.", problem=problem)
        raise DataError(f"{self.where(index)}: this photo cannot be read: {problem}.")

    def where(self, index: int) -> str:
        """Return "shards/train-000000.tar: 000000012.jpg (dress/x.jpg)", with the sample ID if its name is another one."""
        row = int(self.rows[index])
        name, (sample_id,) = self.index.name(row), self.index.sample_ids(row, row + 1)
        photo = name if not sample_id or sample_id.endswith(name) else f"{name} ({sample_id})"
        shard = self._shard(row) if self.remote is None else f"{self.remote.address}/{self._name(row)}"
        return escape(f"{shard}: {photo}")

    def subset(self, indices: NDArray[np.int64]) -> "TarReader":
        """Return a reader of the photos at `indices`, in that order."""
        rows = self.rows
        chosen = rows.start + np.asarray(indices) if isinstance(rows, range) else rows[indices]
        return dataclasses.replace(self, rows=chosen)

    def sizes(self) -> NDArray[np.int64]:
        """Return the size of each photo."""
        return self.index.sizes[self._selection()].astype(np.int64)

    def photo_files(self) -> list[Path]:
        """Return the paths of the shards that hold the photos."""
        numbers = np.unique(self.index.shard_numbers[self._selection()])
        return [self._path(self.index.shards[number]) for number in numbers]

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices, ordered by shard and offset."""
        chosen = self._selection()
        return np.lexsort((self.index.offsets[chosen], self.index.shard_numbers[chosen])).astype(np.int64)

    def _selection(self) -> slice | NDArray[np.int64]:
        return slice(self.rows.start, self.rows.stop) if isinstance(self.rows, range) else self.rows

    def _shard(self, row: int) -> Path:
        return self._path(self._name(row))

    def _name(self, row: int) -> str:
        return self.index.shards[int(self.index.shard_numbers[row])]

    def _path(self, name: str) -> Path:
        return self.root / name if self.remote is None else self.remote.path(name)
