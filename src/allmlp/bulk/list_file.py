"""The list of a plan's photos, written once to a Parquet file with one row group per part, and read part by part.

A row has the photo's `name`; for a photo inside a zip, tar or Parquet file, the `container` and its `number` there; and `size`
and `mtime_ns` of the file, by which a change is noticed (-1 if it is missing); for a shard at an address, the start of its
SHA-256 stands for the time. Names are bytes, as the file system has them.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from allmlp.errors import ConfigError
from allmlp.io.display import escape
from allmlp.io.file_kinds import sha256_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ListedPhoto", "check_list", "read_part_of_list", "write_list"]


class ListedPhoto(NamedTuple):
    """A photo of the list; see the module for the fields."""

    name: str
    container: str | None
    number: int | None
    size: int
    mtime_ns: int


def write_list(file: IO[bytes], rows: Iterator[ListedPhoto], num_photos: int, *, part_size: int) -> str:
    """Write the list to an open file, a part at a time; return the SHA-256 of what was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    hashed = _HashedFile(file)
    with pq.ParquetWriter(pa.PythonFile(hashed, mode="w"), _schema(), compression="zstd") as writer:
        for _ in range(0, num_photos, part_size):
            writer.write_table(_table(list(islice(rows, part_size))), row_group_size=part_size)
    return hashed.digest()


class _HashedFile:
    """A file that hashes what is written to it."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hashed = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self._hashed.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """Leave the file open: its owner syncs it."""

    def digest(self) -> str:
        return self._hashed.hexdigest()


def _schema() -> "pa.Schema":
    import pyarrow as pa

    names = pa.binary()
    integers = pa.int64()
    return pa.schema({"name": names, "container": names, "number": integers, "size": integers, "mtime_ns": integers})


def _table(rows: Sequence[ListedPhoto]) -> "pa.Table":
    import pyarrow as pa

    names, containers, *numbers = zip(*rows, strict=True)
    columns = [
        [os.fsencode(name) for name in names],
        [None if name is None else os.fsencode(name) for name in containers],
        *numbers,
    ]
    schema = _schema()
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def check_list(path: Path, sha256: str) -> None:
    """Check that a list is the one of a plan.

    Raises:
        ConfigError: it is missing, or another one.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ConfigError(
            f"{escape(path)}: cannot be read ({error.strerror or error}); it lists the plan's photos."
        ) from error
    if found != sha256:
        raise ConfigError(f"{escape(path)}: this is not the list of the plan's photos; it was changed or cut short.")


def read_part_of_list(path: Path, part: int) -> list[ListedPhoto]:
    """Return the photos of a part. The list has been checked."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows = file.read_row_group(part).to_pylist()
    return [
        ListedPhoto(
            os.fsdecode(row["name"]),
            None if row["container"] is None else os.fsdecode(row["container"]),
            row["number"],
            row["size"],
            row["mtime_ns"],
        )
        for row in rows
    ]
