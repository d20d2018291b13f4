"""SIGINT and SIGTERM: while training, the step is finished and saved before the process ends."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["StopSignal", "Stopped"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal ended the run; `exit_code` is what the process exits with, 130 or 143.

    `is_shared`: whether all processes of a training end by it at the same place.
    """

    def __init__(self, number: int, *, is_shared: bool = False) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number
        self.exit_code = 128 + number
        self.is_shared = is_shared


class StopSignal:
    """Takes the two signals while it is entered.

    Until `deferred` is set a signal ends the run at once: there is nothing to save yet. From then on it is only `received`. It
    counts when all processes that train together agree on it, which the loop asks for between steps (`Session.agree`): a
    signal that reaches one of them right after they have agreed waits until they do again. Further signals change nothing.
    Outside the main thread, where Python allows no handlers, none is ever received.

    Attributes:
        deferred: whether a signal waits for the loop.
        received: the signal that this process got, None without.
    """

    def __init__(self) -> None:
        self.deferred = False
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def behind_errors(self) -> Iterator[None]:
        """Defer signals while an exception propagates: torchrun sends one to all others when a process fails."""
        try:
            yield
        except BaseException:
            self.deferred = True
            raise

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self.received = self.received or number
        if not self.deferred:
            raise Stopped(self.received)
