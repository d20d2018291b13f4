"""SIGINT and SIGTERM: while training, the step is finished and saved before the process ends."""

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["StopRequest", "Stopped"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal ended the run; `exit_code` is what the process exits with, 130 or 143."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class StopRequest:
    """Takes the two signals while it is entered.

    Until `patient` is set a signal ends the run at once: there is nothing to save yet. From then on it is noted, and the
    loop asks `requested` between steps; further signals change nothing. Outside the main thread, where Python allows no
    handlers, it never asks for anything.

    Attributes:
        patient: whether a signal waits for the loop.
        number: the signal that was taken, None without.
    """

    def __init__(self) -> None:
        self.patient = False
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """Whether a signal waits."""
        return self.number is not None

    def check(self) -> None:
        """Raise `Stopped` when a signal waits."""
        if self.number is not None:
            raise Stopped(self.number)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self.number = self.number or number
        if not self.patient:
            raise Stopped(self.number)
