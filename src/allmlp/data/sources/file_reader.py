"""Reader of photos that are ordinary files, as listed by a folder or a CSV table."""

import dataclasses
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.data.decoding.limits import MAX_PHOTO_BYTES
from allmlp.data.decoding.reasons import raise_shortage
from allmlp.errors import DataError
from allmlp.io.display import escape
from allmlp.io.remote_address import ADDRESS_ADVICE, is_address

__all__ = ["FileReader", "file_problem"]


def file_problem(path: Path) -> str | None:
    """Return why `path` cannot be a photo (missing, a folder, a pipe, ...), without opening it; None if it can.

    Raises:
        ShortageError: the disk does not answer, so that nothing is known about it.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise_shortage(error, where=escape(path))
        if isinstance(error, FileNotFoundError) and os.path.islink(path):  # noqa: PTH114 - Path's raises
            return "a broken link"
        if is_address(path):
            return f"no such file. {ADDRESS_ADVICE.removesuffix('.')}"
        return (getattr(error, "strerror", None) or str(error)).lower()
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "not a regular file"  # opening a named pipe would block


@dataclasses.dataclass(frozen=True)
class FileReader:
    """Reads `root / paths[index]`."""

    root: Path
    paths: tuple[str, ...]

    def read(self, index: int) -> bytes:
        """Return the file's bytes. Raises DataError if it is missing, no longer a regular file, or too large.

        It is a ShortageError if the machine lacks memory, open files or the disk.
        """
        path = self.root / self.paths[index]
        problem = file_problem(path)
        if problem is None:
            try:
                with path.open("rb") as file:
                    content = file.read(MAX_PHOTO_BYTES + 1)
                if len(content) <= MAX_PHOTO_BYTES:
                    return content
                problem = f"larger than {MAX_PHOTO_BYTES:,} bytes"
            except (OSError, MemoryError) as error:
                raise_shortage(error, where=self.where(index))
                problem = (getattr(error, "strerror", None) or str(error)).lower()
        raise DataError(f"{self.where(index)}: this photo cannot be read: {problem}.")

    def where(self, index: int) -> str:
        """Return the file's path."""
        path = self.paths[index]
        return escape(path if is_address(path) else self.root / path)  # Path would drop a slash of an address

    def subset(self, indices: NDArray[np.int64]) -> "FileReader":
        """Return a reader of the files at `indices`, in that order."""
        return FileReader(self.root, tuple(self.paths[index] for index in indices))

    def sizes(self) -> NDArray[np.int64]:
        """Return the size of each file."""
        return np.array([_size(path) for path in self.photo_files()], dtype=np.int64)

    def photo_files(self) -> Iterator[Path]:
        """Yield the path of each photo."""
        return (self.root / path for path in self.paths)

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices, ordered by path: the best available guess at the order on disk."""
        return np.array(sorted(range(len(self.paths)), key=self.paths.__getitem__), dtype=np.int64)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
