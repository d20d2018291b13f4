"""The photos of a part, to be read by decoding threads; a photo that has changed since the plan was made is refused."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from allmlp.bulk.list_file import ListedPhoto
from allmlp.bulk.photo_list import state_of
from allmlp.bulk.plan import Plan
from allmlp.data import (
    MAX_PHOTO_BYTES,
    FileReader,
    NumberedPhotos,
    ShortageError,
    is_copy_whole,
    open_numbered_photos,
    raise_shortage,
    shard_at,
)
from allmlp.errors import DataError
from allmlp.inference import StoredPhoto
from allmlp.io.display import escape
from allmlp.io.remote_address import is_remote

__all__ = ["PhotoSource"]

_CHANGED = "has changed since the plan was made"


class PhotoSource:
    """Reads the photos of a plan. Of zips, tar and Parquet files, the one read last stays open: memory is that of one file."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._opened: tuple[str, NumberedPhotos] | None = None
        self._used: dict[str, ListedPhoto] = {}  # a photo of each file that photos were taken from since the last check

    def check(self) -> None:
        """Check that the sources are there: otherwise every photo of a detached disk would become a row with an error.

        After photos were read, this also checks that the files they were taken from have not changed in the meantime. Of a
        shard at an address, that is its copy: its SHA-256 is computed again if its size or time of change is another one.

        Raises:
            DataError: one is missing, or has changed.
        """
        for path, row in self._used.items():
            self._check_unchanged(row)
            if is_remote(path):
                _check_copy(path)
        self._used.clear()
        for root in self._plan.roots:
            if not is_remote(root) and not os.path.lexists(root):
                raise DataError(
                    f"{escape(root)}: the photos of the plan are not there. Put them back, or attach the disk."
                )

    def photos(self, rows: Sequence[ListedPhoto]) -> Iterator[StoredPhoto]:
        """Yield the photos of these rows.

        Raises:
            DataError: a zip or Parquet file is missing, has changed, or is damaged.
        """
        for row in rows:
            if row.container is None:
                yield StoredPhoto(row.name, partial(self._read_file, row))
            else:
                assert row.number is not None
                opened = self._open(row)
                if list(opened.names[row.number : row.number + 1]) != [row.name]:
                    raise DataError(_changed_file(row))
                yield StoredPhoto(row.name, partial(opened.reader.read, row.number))

    def _read_file(self, row: ListedPhoto) -> bytes:
        """Return the bytes of a file that has not changed. Raises DataError."""
        path = os.path.join(self._plan.folder, row.name)  # noqa: PTH118 - names are kept as they are
        try:
            status = os.stat(path)  # noqa: PTH116 - millions of paths
        except (OSError, ValueError) as error:
            raise_shortage(error, where=escape(row.name))
            status = None
        if status is not None and (status.st_size, status.st_mtime_ns) != (row.size, row.mtime_ns):
            raise DataError(_changed_photo(row))
        if status is not None and stat.S_ISREG(status.st_mode) and row.size <= MAX_PHOTO_BYTES:
            with contextlib.suppress(OSError, MemoryError), open(path, "rb", buffering=0) as file:  # noqa: PTH123
                content = file.read(row.size + 1)
                if len(content) == row.size:
                    return content
        # Whatever is wrong, the reader of files says it.
        reader = FileReader(Path(self._plan.folder), (row.name,))
        try:
            content = reader.read(0)
        except ShortageError:
            raise
        except DataError as error:
            raise DataError(str(error).replace(reader.where(0), escape(row.name), 1)) from error
        if len(content) != row.size:
            raise DataError(_changed_photo(row))
        return content

    def _open(self, row: ListedPhoto) -> NumberedPhotos:
        assert row.container is not None
        path = self._check_unchanged(row)
        self._used[path] = row
        if self._opened is None or self._opened[0] != path:
            opened = open_numbered_photos(path, shown=row.container)
            if opened is None:
                raise DataError(_changed_file(row))
            self._opened = path, opened
        return self._opened[1]

    def _check_unchanged(self, row: ListedPhoto) -> str:
        """Return the path of the file that holds a photo. Raises DataError if it is missing, or another one."""
        assert row.container is not None
        path = row.container
        if not is_remote(path):
            path = os.path.join(self._plan.folder, path)  # noqa: PTH118
        if state_of(path) != (row.size, row.mtime_ns):
            raise DataError(_changed_file(row))
        return path


def _changed_photo(row: ListedPhoto) -> str:
    return f"{escape(row.name)}: this photo {_CHANGED}. For its new content, start another folder."


def _changed_file(row: ListedPhoto) -> str:
    return f"{escape(row.container)}: this file is missing or {_CHANGED}. Put it back, or start another folder."


def _check_copy(address: str) -> None:
    """Check that the copy of a shard at an address is the one that was verified. Raises ShortageError."""
    remote, name = shard_at(address)
    if not is_copy_whole(remote.path(name), remote.shards[name]):
        problem = (
            f"{escape(remote.path(name))}, the copy of this shard, was deleted or changed while its photos were read"
        )
        raise ShortageError(
            f"{escape(address)}: {problem}. Run the same command again, which downloads it again.", problem=problem
        )
