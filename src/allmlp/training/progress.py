"""Progress of a training: the protocol that receives it, no-op progress, and progress that is logged."""

from collections.abc import Mapping
from typing import Protocol

from allmlp.io.display import Report

__all__ = ["LoggingProgress", "NoProgress", "Progress"]


class Progress(Protocol):
    """Receives what happens; must not raise."""

    def message(self, text: str) -> None:
        """Take a line for people: what was found, what was chosen, what was written."""

    def start(self, total_steps: int) -> None:
        """Training starts."""

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None:
        """`step` steps are done."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch is done; `row` is its line of results.csv."""

    def finish(self) -> None:
        """Training ended, whole or not."""


class NoProgress:
    """Tells nothing."""

    def message(self, text: str) -> None: ...

    def start(self, total_steps: int) -> None: ...

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...

    def finish(self) -> None: ...


class LoggingProgress:
    """Passes everything on, and lines for people also to a log, from the first one on, once there is one."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._early: list[str] = []
        self._log: Report = self._early.append

    def write_to(self, log: Report) -> None:
        """Send all lines so far and those that follow to `log`."""
        for line in self._early:
            log(line)
        self._log = log

    def message(self, text: str) -> None:
        self._log(text)
        self._progress.message(text)

    def start(self, total_steps: int) -> None:
        self._log(f"training starts: {total_steps:,} steps")
        self._progress.start(total_steps)

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None:
        self._progress.step(step, loss=loss, images_per_second=images_per_second, seconds_left=seconds_left)

    def epoch(self, row: Mapping[str, float]) -> None:
        self._log("  ".join(f"{name} {value:.5g}" for name, value in row.items()))
        self._progress.epoch(row)

    def finish(self) -> None:
        self._log("training ended")
        self._progress.finish()
