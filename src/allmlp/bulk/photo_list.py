"""The list of a plan's photos, written once to a Parquet file with one row group per part, and read part by part.

A row has the photo's `name`; for a photo inside a zip or Parquet file, the `container` and its `number` there; and `size` and
`mtime_ns` of the file, by which a change is noticed (-1 if it is missing); for a shard at an address, the start of its SHA-256
stands for the time. Names are bytes, as the file system has them.
"""

import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from allmlp.bulk.plan import PLAN_FILE
from allmlp.data import (
    Listing,
    TarPhoto,
    list_folder,
    listed_files,
    open_numbered_photos,
    shard_at,
    stored_photos,
    tar_files_in,
)
from allmlp.errors import ConfigError, DataError
from allmlp.inference import photos_in_folder
from allmlp.io.display import Report, escape, shorten
from allmlp.io.file_kinds import sha256_of
from allmlp.io.path_problem import is_pattern, path_advice, paths_matching
from allmlp.io.remote_address import is_remote

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ListedPhoto", "PhotoList", "check_list", "find_listed", "read_part_of_list"]

_MISSING = (-1, -1)
_MAX_FOLDERS = 100  # that are looked for before and after every part


class ListedPhoto(NamedTuple):
    """A photo of the list; see the module for the fields."""

    name: str
    container: str | None
    number: int | None
    size: int
    mtime_ns: int


@dataclass(frozen=True, eq=False)
class PhotoList:
    """The photos that sources stand for, in their order.

    Attributes:
        names: of the photos, relative to `folder` or absolute.
        groups: (count, container) of successive photos; the container is None for files.
        roots: what has to be there before photos are read.
    """

    names: Sequence[str]
    groups: Sequence[tuple[int, str | None]]
    roots: Sequence[str]

    def write(self, file: IO[bytes], *, part_size: int) -> str:
        """Write the list to an open file; return the SHA-256 of what was written."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        hashed = _HashedFile(file)
        rows = self._rows()
        with pq.ParquetWriter(pa.PythonFile(hashed, mode="w"), _schema(), compression="zstd") as writer:
            for start in range(0, len(self.names), part_size):
                chunk = [next(rows) for _ in range(start, min(start + part_size, len(self.names)))]
                writer.write_table(_table(chunk), row_group_size=part_size)
        return hashed.digest()

    def _rows(self) -> Iterator[ListedPhoto]:
        names = iter(self.names)
        for count, container in self.groups:
            state = _MISSING if container is None else state_of(container)
            for number in range(count):
                name = next(names)
                if container is None:
                    yield ListedPhoto(name, None, None, *state_of(name))
                else:
                    yield ListedPhoto(name, container, number, *state)


def state_of(path: str) -> tuple[int, int]:
    """Return the size of a file and the time of its last change in nanoseconds; (-1, -1) if it cannot be looked at.

    For a shard at an address, an integer from its SHA-256 stands for the time. Raises DataError if it is not listed there.
    """
    if is_remote(path):
        remote, name = shard_at(path)
        return remote.shards[name].size, int(remote.shards[name].sha256[:15], 16)
    try:
        status = os.stat(path)  # noqa: PTH116 - millions of paths
    except (OSError, ValueError):
        return _MISSING
    return status.st_size, status.st_mtime_ns


def find_listed(sources: Sequence[str], *, report: Report) -> PhotoList:
    """Return the photos of folders, patterns, files and lists of photos, zips, tar shards and Parquet files.

    `report` receives what is left out.

    Raises:
        DataError: a source is missing, cannot be read, or has no photos.
    """
    names: list[str] = []
    groups: list[tuple[int, str | None]] = []
    roots: list[str] = []
    folders: dict[str, None] = {}  # of photos that are named one by one
    for source in sources:
        paths = paths_matching(source) if is_pattern(source) and not is_remote(source) else [source]
        for path in paths:
            found, container = _photos_of(path, report)
            groups += [(len(found), name) for found, name in zip(found, container, strict=True)]
            for each in found:
                names += each
            if is_remote(path):
                roots.append(path)
            elif os.path.isdir(path) or container != [None]:  # noqa: PTH112
                roots.append(os.path.abspath(path))  # noqa: PTH100
            elif found == [[path]]:
                folders[_folder_of(path)] = None
            else:
                roots += [os.path.abspath(path), *_common_folders(map(_folder_of, found[0]))]  # noqa: PTH100
    roots += folders if len(folders) <= _MAX_FOLDERS else _common_folders(folders)
    return PhotoList(names, groups, list(dict.fromkeys(roots)))


def _folder_of(photo: str) -> str:
    return os.path.dirname(os.path.abspath(photo))  # noqa: PTH100, PTH120


def _common_folders(folders: Iterable[str]) -> list[str]:
    """Return for each disk the folder that holds those of these folders that are on it: what holds all disks never vanishes."""
    on_disk: dict[int | None, set[str]] = defaultdict(set)
    for folder in set(folders):
        on_disk[_disk_of(folder)].add(folder)
    # A disk on which none of them is was not detached: the list is older than what is there, and its photos have errors.
    present = [of_disk for of_disk in on_disk.values() if any(map(os.path.lexists, of_disk))]
    common = []
    for of_disk in present or on_disk.values():
        with contextlib.suppress(ValueError):  # on several drives that are not there
            common.append(os.path.commonpath(of_disk))
    return sorted(common)


def _disk_of(folder: str) -> int | None:
    """Return the device number of a folder, or of what is there of its path; None if that is nothing."""
    while True:
        try:
            return os.stat(folder).st_dev  # noqa: PTH116
        except (OSError, ValueError):
            folder, before = os.path.dirname(folder), folder  # noqa: PTH120
            if folder == before:
                return None


def _photos_of(path: str, report: Report) -> tuple[list[list[str]], list[str | None]]:
    """Return the names in each group of photos that a path stands for, and the container of each group."""
    if is_remote(path):
        return _groups(stored_photos(path) or [])
    if not os.path.lexists(path):
        raise DataError(f"{shorten(escape(path), 300)}: there is no such file or folder. {path_advice(path)}".rstrip())
    if os.path.isdir(path):  # noqa: PTH112
        return _photos_of_folder(Path(path), report)
    if Path(path).suffix.lower() == ".csv":
        return [listed_files(Path(path))], [None]
    contained = _contained(path) if Path(path).is_file() else None
    return ([[path]], [None]) if contained is None else ([contained], [path])


def _photos_of_folder(folder: Path, report: Report) -> tuple[list[list[str]], list[str | None]]:
    listing = list_folder(folder)
    if parquet := _parquet_in(folder, listing):
        return [_contained(name) or [] for name in parquet], list(parquet)
    # Shards without photos are left out. Their SHA-256 is compared when they are read for a part: listing stays fast.
    if tar_files_in(folder, listing) and (photos := stored_photos(folder, compare=False)):
        return _groups(photos)
    return [photos_in_folder(folder, listing=listing, report=report)], [None]


def _groups(photos: Sequence[TarPhoto]) -> tuple[list[list[str]], list[str | None]]:
    groups = [(shard, [photo.name for photo in of]) for shard, of in groupby(photos, lambda each: each.shard)]
    return [names for _, names in groups], [shard for shard, _ in groups]


def _contained(path: str) -> list[str] | None:
    opened = open_numbered_photos(Path(path), compare=False)
    if opened is None:
        return None
    if not opened.names:
        raise DataError(f"{escape(path)}: no photos in this file.")
    return list(opened.names)


def _parquet_in(folder: Path, listing: Listing) -> list[str]:
    """Return the Parquet files of a folder that has no photos next to them, without those of results written into it."""
    results = {name.removesuffix(PLAN_FILE) for name in listing.ignored if name.rpartition("/")[2] == PLAN_FILE}
    found = sorted(
        name
        for name in listing.ignored
        if name.lower().endswith(".parquet") and not _is_hidden(name) and name[: name.rfind("/") + 1] not in results
    )
    return [] if listing.photos else [str(folder / name) for name in found]


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


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
