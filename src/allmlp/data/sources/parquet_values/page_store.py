"""Unpacked pages that cannot be read in parts: recent ones in memory, those needed repeatedly in a temporary file."""

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import IO

from allmlp.io.bounded_cache import BoundedCache

__all__ = ["PageStore"]


class PageStore:
    """Returns parts of pages; a page is unpacked at most twice, however the reads are ordered.

    Pages of up to `memory_bytes` in all are kept in memory. A page that has to be unpacked a second time is written to an
    unnamed file in the folder for temporary files (TMPDIR), which disappears with the process. The file takes at most half of
    the space that is free there at first; further pages are unpacked each time that they are needed.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory: BoundedCache[bytes] = BoundedCache(memory_bytes)
        self._lock = threading.Lock()
        self._forget()

    def read(self, key: Hashable, num_bytes: int, make: Callable[[], bytes], start: int, length: int) -> bytes:
        """Return at most `length` bytes from `start` of the page `key`, which `make` unpacks to `num_bytes`."""
        length = max(0, min(length, num_bytes - start))
        part = self._stored(key, start, length)
        if part is not None:
            return part

        def page() -> bytes:
            content = make()
            if key in self._unpacked:
                self._store(key, content)
            self._unpacked.add(key)
            return content

        return self._memory.get(key, num_bytes, page)[start : start + length]

    def _forget(self) -> None:
        self._owner = os.getpid()
        self._unpacked: set[Hashable] = set()
        self._offsets: dict[Hashable, int] = {}
        self._file: IO[bytes] | None = None
        self._end = self._limit = 0

    def _stored(self, key: Hashable, start: int, length: int) -> bytes | None:
        with self._lock:
            if self._owner != os.getpid():  # a forked process: the offset of the file belongs to both
                self._forget()
            if self._file is None or key not in self._offsets:
                return None
            try:
                self._file.seek(self._offsets[key] + start)
                return self._file.read(length)
            except OSError:
                return None

    def _store(self, key: Hashable, content: bytes) -> None:
        with self._lock:
            try:
                if self._file is None:
                    self._limit = shutil.disk_usage(tempfile.gettempdir()).free // 2
                    self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with this object)
                    weakref.finalize(self, self._file.close)
                if self._end + len(content) > self._limit:
                    return
                self._file.seek(self._end)
                if self._file.write(content) < len(content):  # the disk is full
                    return
            except OSError:
                return
            self._offsets[key] = self._end
            self._end += len(content)
