"""Photos that are ordinary files, as listed by a folder or a CSV table."""

import dataclasses
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.data.decoding.decode import MAX_PHOTO_BYTES
from allmlp.errors import DataError
from allmlp.io.display import escape

__all__ = ["FileReader", "file_trouble"]


def file_trouble(path: Path) -> str | None:
    """Return why `path` cannot be a photo (missing, a folder, a pipe...), without opening it; None if it can."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        if isinstance(error, FileNotFoundError) and os.path.islink(path):  # noqa: PTH114 - Path's raises
            return "a link to nothing"
        return (getattr(error, "strerror", None) or str(error)).lower()
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "not a regular file"  # opening a named pipe would wait for ever


@dataclasses.dataclass(frozen=True)
class FileReader:
    """Reads `root / paths[index]`."""

    root: Path
    paths: tuple[str, ...]

    def read(self, index: int) -> bytes:
        """Return the file's bytes. Raises DataError when it has vanished, is not a file any more, or is too large."""
        path = self.root / self.paths[index]
        trouble = file_trouble(path)
        if trouble is None:
            try:
                with path.open("rb") as file:
                    content = file.read(MAX_PHOTO_BYTES + 1)
                if len(content) <= MAX_PHOTO_BYTES:
                    return content
                trouble = f"larger than {MAX_PHOTO_BYTES:,} bytes"
            except OSError as error:
                trouble = (error.strerror or str(error)).lower()
        raise DataError(f"{self.where(index)}: this photo cannot be read: {trouble}.")

    def where(self, index: int) -> str:
        """Return the file's path."""
        return escape(self.root / self.paths[index])

    def subset(self, indices: NDArray[np.int64]) -> "FileReader":
        """Return a reader of these files in this order."""
        return FileReader(self.root, tuple(self.paths[index] for index in indices))

    def photo_files(self) -> Iterator[Path]:
        """Yield the photos' paths."""
        return (self.root / path for path in self.paths)

    def storage_order(self) -> NDArray[np.int64]:
        """Return the files sorted by path, which is as near to the disk's order as can be known."""
        return np.array(sorted(range(len(self.paths)), key=self.paths.__getitem__), dtype=np.int64)
