"""`AccessLog`: one JSON line per request on standard output, without photos, names of files, keys or queries.

A thread writes the lines, so that a reader which stalls does not stop the server. Lines that it cannot take are left out and
counted.
"""

import contextlib
import json
import queue
import sys
import threading
from typing import TextIO

__all__ = ["AccessLog"]

_MAX_LINES = 10_000


class AccessLog:
    """A bounded queue of lines and the thread that writes them from `start` to `stop`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(_MAX_LINES)
        self._num_lost = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Write what is waiting, unless the reader stalls."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=timeout_s)
                self._thread.join(timeout_s)

    def add(self, **values: object) -> None:
        """Queue a line."""
        if self._num_lost:
            values["lines_lost"] = self._num_lost
        try:
            self._lines.put_nowait(json.dumps(values) + "\n")
            self._num_lost = 0
        except queue.Full:
            self._num_lost += 1

    def _write(self) -> None:
        stream = sys.stdout if self._stream is None else self._stream
        while (line := self._lines.get()) is not None:
            try:
                stream.write(line)
                if self._lines.empty():
                    stream.flush()
            except (OSError, ValueError):  # nobody reads any more
                return
