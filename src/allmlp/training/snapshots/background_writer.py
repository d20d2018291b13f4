"""Writing files in a background thread during training, one write at a time."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

from allmlp.errors import AllmlpError, is_out_of_threads
from allmlp.io.display import Report

__all__ = ["BackgroundWriter"]


class BackgroundWriter:
    """Writes in a thread. The interpreter waits for a write in progress before it exits.

    `warn` receives one line per failure that training survives, also from the writing thread.
    """

    def __init__(self, warn: Report) -> None:
        self._warn = warn
        self._thread: threading.Thread | None = None
        self._bug: BaseException | None = None

    def submit(self, path: Path, write: Callable[[], None]) -> None:
        """Call `write`, which writes `path`, in the background, after waiting for a write in progress.

        If the system allows no further thread, it is called here.

        `write` passes disk failures to `report`. Any exception it raises is a bug, which is reported at once and raised by the
        next `submit` or `wait`.
        """
        self.wait()
        # Not a daemon, so that the interpreter waits for it before it exits.
        thread = threading.Thread(target=self._run, args=(path, write), name=f"write {path.name}", daemon=False)
        try:
            thread.start()
        except RuntimeError as error:
            if not is_out_of_threads(error):
                raise
            self._run(path, write)
        else:
            self._thread = thread

    def wait(self) -> None:
        """Wait until nothing is being written. A bug that ended a write is raised here, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        bug, self._bug = self._bug, None
        if bug is not None:
            raise bug

    def report(self, line: str) -> None:
        """Report a failure that training survives; on standard error if `warn` fails as well."""
        try:
            self._warn(line)
        except (OSError, AllmlpError):  # for example a log on the same full disk
            sys.stderr.write(f"{line}\n")

    def _run(self, path: Path, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:
            self._bug = error  # also reported now, since submit() or wait() may never be called again
            self.report(f"{path}: saving failed because of a bug: {error!r}.")
