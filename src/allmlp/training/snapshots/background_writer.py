"""Background writing: one write at a time during training."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from allmlp.errors import AllmlpError
from allmlp.io.display import Report

__all__ = ["BackgroundWriter"]


class BackgroundWriter:
    """Writes in a thread. An interpreter that exits finishes what is being written first.

    `warn` gets one line for each failure that training survives; it is called from the writing thread, too.
    """

    def __init__(self, warn: Report) -> None:
        self._warn = warn
        self._thread: threading.Thread | None = None
        self._bug: BaseException | None = None

    def submit(self, path: Path, write: Callable[[], None]) -> None:
        """Call `write`, which writes `path`, in the background; when a write is under way, wait for it first.

        `write` reports what can go wrong with a disk through `report`. Whatever it raises is a bug: it is reported at once
        and raised by the next `submit` or `wait`.
        """
        self.wait()
        # Not a daemon: an interpreter that exits waits for it.
        self._thread = threading.Thread(target=self._run, args=(path, write), name=f"write {path.name}", daemon=False)
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written. A bug that ended a write is raised here, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        bug, self._bug = self._bug, None
        if bug is not None:
            raise bug

    def report(self, line: str) -> None:
        """Pass on a failure that training survives; to standard error where even that fails."""
        try:
            self._warn(line)
        except (OSError, AllmlpError):  # such as a log on the same full disk
            sys.stderr.write(f"{line}\n")

    def _run(self, path: Path, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:
            self._bug = error  # reported now as well: perhaps nobody calls submit() or wait() again
            self.report(f"{path}: saving failed by a bug: {error!r}.")
