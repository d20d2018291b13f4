"""The photos that sources stand for, and the state of the files that hold them, which is from before their names were read."""

import contextlib
import errno
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, NamedTuple

from allmlp.bulk.list_file import ListedPhoto, write_list
from allmlp.bulk.plan import PLAN_FILE
from allmlp.data import (
    Listing,
    ShortageError,
    TarPhoto,
    list_folder,
    listed_files,
    open_numbered_photos,
    raise_shortage,
    shard_at,
    stored_photos,
    tar_files_in,
)
from allmlp.errors import DataError
from allmlp.inference import photos_in_folder
from allmlp.io.display import Report, escape, shorten
from allmlp.io.path_problem import is_pattern, path_advice, paths_matching
from allmlp.io.remote_address import is_remote

__all__ = ["Group", "PhotoList", "find_listed", "state_of"]

_MISSING = (-1, -1)
# A photo is missing if its disk says so, and not if that does not answer. The last ones are of names that no file has.
_IS_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
_MAX_FOLDERS = 100  # that are looked for before and after every part


class Group(NamedTuple):
    """The number of successive photos in a container, with the state that this had before it was opened; or of files."""

    num_photos: int
    container: str | None = None
    state: tuple[int, int] = _MISSING


class _Found(NamedTuple):
    """The names of the photos of a `Group`."""

    names: list[str]
    container: str | None = None
    state: tuple[int, int] = _MISSING


@dataclass(frozen=True, eq=False)
class PhotoList:
    """The photos that sources stand for, in their order.

    Attributes:
        names: of the photos, relative to `folder` or absolute.
        groups: which of them are in which file.
        roots: what has to be there before photos are read.
    """

    names: Sequence[str]
    groups: Sequence[Group]
    roots: Sequence[str]

    def write(self, file: IO[bytes], *, part_size: int) -> str:
        """Write the list to an open file; return the SHA-256 of what was written."""
        return write_list(file, self._rows(), len(self.names), part_size=part_size)

    def _rows(self) -> Iterator[ListedPhoto]:
        names = iter(self.names)
        for num_photos, container, state in self.groups:
            for number in range(num_photos):
                name = next(names)
                if container is None:
                    yield ListedPhoto(name, None, None, *state_of(name))
                else:
                    yield ListedPhoto(name, container, number, *state)


def state_of(path: str) -> tuple[int, int]:
    """Return the size of a file and the time of its last change in nanoseconds; (-1, -1) if it is missing.

    For a shard at an address, an integer from its SHA-256 stands for the time.

    Raises:
        DataError: a shard is not listed at its address.
        ShortageError: whether the file is there is not known, such as when its disk does not answer.
    """
    if is_remote(path):
        remote, name = shard_at(path)
        return remote.shards[name].size, int(remote.shards[name].sha256[:15], 16)
    try:
        status = os.stat(path)  # noqa: PTH116 - millions of paths
    except ValueError:  # a NUL character in the name
        return _MISSING
    except OSError as error:
        if error.errno in _IS_MISSING:
            return _MISSING
        raise_shortage(error, where=escape(path))
        problem = f"cannot be looked at ({error.strerror or error})"
        raise ShortageError(f"{escape(path)}: {problem}. Check the disk, and try again.", problem=problem) from error
    return status.st_size, status.st_mtime_ns


def find_listed(sources: Sequence[str], *, report: Report) -> PhotoList:
    """Return the photos of folders, patterns, files and lists of photos, zips, tar shards and Parquet files.

    `report` receives what is left out.

    Raises:
        DataError: a source is missing, cannot be read, or has no photos.
    """
    names: list[str] = []
    groups: list[Group] = []
    roots: list[str] = []
    folders: dict[str, None] = {}  # of photos that are named one by one
    for source in sources:
        paths = paths_matching(source) if is_pattern(source) and not is_remote(source) else [source]
        for path in paths:
            found = _photos_of(path, report)
            groups += [Group(len(each.names), each.container, each.state) for each in found]
            for each in found:
                names += each.names
            if is_remote(path):
                roots.append(path)
            elif os.path.isdir(path) or [each.container for each in found] != [None]:  # noqa: PTH112
                roots.append(os.path.abspath(path))  # noqa: PTH100
            elif found[0].names == [path]:
                folders[_folder_of(path)] = None
            else:
                roots += [os.path.abspath(path), *_common_folders(map(_folder_of, found[0].names))]  # noqa: PTH100
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


def _photos_of(path: str, report: Report) -> list[_Found]:
    """Return the groups of photos that a path stands for."""
    if is_remote(path):
        return _groups(stored_photos(path) or [])
    if not os.path.lexists(path):
        raise DataError(f"{shorten(escape(path), 300)}: there is no such file or folder. {path_advice(path)}".rstrip())
    if os.path.isdir(path):  # noqa: PTH112
        return _photos_of_folder(Path(path), report)
    if Path(path).suffix.lower() == ".csv":
        return [_Found(listed_files(Path(path)))]
    return [_contained(path) if Path(path).is_file() else _Found([path])]


def _photos_of_folder(folder: Path, report: Report) -> list[_Found]:
    listing = list_folder(folder)
    if parquet := _parquet_in(folder, listing):
        return [_contained(name) for name in parquet]
    # Shards without photos are left out. Their SHA-256 is compared when they are read for a part: listing stays fast.
    if tar_files_in(folder, listing) and (photos := stored_photos(folder, compare=False)):
        return _groups(photos)
    return [_Found(photos_in_folder(folder, listing=listing, report=report))]


def _groups(photos: Sequence[TarPhoto]) -> list[_Found]:
    groups = [(shard, list(of)) for shard, of in groupby(photos, lambda each: each.shard)]
    return [
        _Found([photo.name for photo in of], shard, state_of(shard) if is_remote(shard) else of[0].state)
        for shard, of in groups
    ]


def _contained(path: str) -> _Found:
    """Return the photos in a file, or the file if it is none that holds photos."""
    state = state_of(path)  # before it is opened: a file that takes its place meanwhile has another one
    opened = open_numbered_photos(Path(path), compare=False)
    if opened is None:
        return _Found([path])
    if not opened.names:
        raise DataError(f"{escape(path)}: no photos in this file.")
    return _Found(list(opened.names), path, state)


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
