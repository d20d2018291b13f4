"""Claims on parts, by which processes on one or more machines share the work of a plan without a coordinator.

A claim is a lock on one byte of a file in the folder. The system releases it when its process ends, however that ends, so that
no claim outlives a killed process. Claims save work; nothing depends on them: a part that two processes compute, because a
network file system has no locks or the system is Windows, gets the same bytes from both, and one name.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from allmlp.errors import ConfigError
from allmlp.io.atomic_write import advice_for, reason_of
from allmlp.io.display import escape

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["CLAIMS_FILE", "Claims"]

CLAIMS_FILE = "_claims"
_PLAN = 2**40  # the byte for the plan itself, behind those of all parts
_TAKEN = {errno.EACCES, errno.EAGAIN}


class Claims:
    """The claims of this process, at most one at a time. Opening the file a second time in one process would release them."""

    def __init__(self, folder: Path) -> None:
        """Open the file of claims, or create it.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        path = folder / CLAIMS_FILE
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise ConfigError(
                f"{escape(path)}: could not be written ({reason_of(error)}). {advice_for(error)}"
            ) from error
        self.works = fcntl is not None

    def close(self) -> None:
        """Release everything."""
        os.close(self._handle)

    @contextlib.contextmanager
    def part(self, number: int, *, wait: bool = False) -> Iterator[bool]:
        """Hold the claim on a part; yield whether this process has it. `wait` waits until another one releases it."""
        has_claim = self._lock(number, wait=wait)
        try:
            yield has_claim
        finally:
            if has_claim:
                self._unlock(number)

    @contextlib.contextmanager
    def plan(self) -> Iterator[None]:
        """Hold the claim on the plan, for which this waits."""
        self._lock(_PLAN, wait=True)
        try:
            yield
        finally:
            self._unlock(_PLAN)

    def _lock(self, byte: int, *, wait: bool) -> bool:
        if not self.works:
            return True
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, byte)
        except OSError as error:
            if error.errno in _TAKEN and not wait:
                return False
            self.works = False  # a file system without locks
        return True

    def _unlock(self, byte: int) -> None:
        if self.works:
            with contextlib.suppress(OSError):
                fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, byte)
