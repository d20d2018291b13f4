"""Handling of SIGINT and SIGTERM: during training, the current step is finished and saved before the process exits."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

__all__ = ["Agreement", "StopSignal", "Stopped"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal ended the run; `exit_code` is the exit code of the process, 130 or 143.

    `is_shared`: whether all processes that train together raise it at the same point.
    """

    def __init__(self, number: int, *, is_shared: bool = False) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number
        self.exit_code = 128 + number
        self.is_shared = is_shared


class StopSignal:
    """Context manager that handles the two signals.

    Until `deferred` is set, a signal ends the run at once: there is nothing to save yet. Afterwards it is only recorded in
    `received`. It takes effect once all processes that train together agree on it, between steps (`Session.agree`); a signal
    that reaches one process right after an agreement waits for the next one. Further signals have no effect. Outside the main
    thread, where Python allows no handlers, no signal is received.

    Attributes:
        deferred: whether a signal waits for the loop.
        received: the signal that this process received; None if there was none.
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
    def defer_on_error(self) -> Iterator[None]:
        """Defer signals while an exception propagates: when a process fails, torchrun sends one to all others."""
        try:
            yield
        except BaseException:
            self.deferred = True
            raise

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self.received = self.received or number
        if not self.deferred:
            raise Stopped(self.received)


class Agreement(NamedTuple):
    """What all processes agreed on between two steps.

    signal: the signal that ends the run; None to go on.
    is_save_overdue: whether the last snapshot is older than the recipe allows.
    num_steps: the number of steps after which the run is to end, if it is revised; None leaves it.
    """

    signal: int | None
    is_save_overdue: bool
    num_steps: int | None = None

    def check(self) -> None:
        """Raise `Stopped` on all processes if a signal ends the run."""
        if self.signal is not None:
            raise Stopped(self.signal, is_shared=True)
