"""Progress of a training run: the observer protocol, a no-op observer, and one that also writes the log."""

import time
from collections.abc import Mapping
from typing import Protocol

from allmlp.io.display import Report, counted
from allmlp.training.loggers.registry import LoggerProgress

__all__ = ["LoggingProgress", "NoProgress", "PhotosRead", "Progress"]

_SECONDS_BETWEEN_MESSAGES = 10.0  # while photos are read


class Progress(Protocol):
    """Receives the events of a training run; must not raise."""

    def message(self, text: str) -> None:
        """Receive a line of text: what was found, chosen or written."""

    def start(self, total_steps: int) -> None:
        """Receive the start of training."""

    def revise(self, total_steps: int) -> None:
        """Receive another number of steps in all: a time budget (`max_minutes`) is used as well as possible."""

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None:
        """Receive the end of a step, after which `step` steps are done."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """Receive the end of an epoch; `row` is its row of results.csv."""

    def finish(self) -> None:
        """Receive the end of training, whether complete or not."""


class NoProgress:
    """Discards all events."""

    def message(self, text: str) -> None: ...

    def start(self, total_steps: int) -> None: ...

    def revise(self, total_steps: int) -> None: ...

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...

    def finish(self) -> None: ...


class LoggingProgress:
    """Forwards all events and also logs the messages; those that arrive before `write_to` are kept for the log.

    Attributes:
        trackers: experiment trackers, which get the steps and the epochs, too.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.trackers = LoggerProgress(self.message)
        self._early: list[str] = []
        self._log: Report = self._early.append

    def write_to(self, log: Report) -> None:
        """Send all lines so far and all that follow to `log`."""
        for line in self._early:
            log(line)
        self._log = log

    def message(self, text: str) -> None:
        self._log(text)
        self._progress.message(text)

    def start(self, total_steps: int) -> None:
        self._log(f"training starts: {counted(total_steps, 'step')}")
        self._progress.start(total_steps)

    def revise(self, total_steps: int) -> None:
        self._progress.revise(total_steps)

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None:
        self._progress.step(step, loss=loss, images_per_second=images_per_second, seconds_left=seconds_left)
        self.trackers.step(step, loss=loss, images_per_second=images_per_second)

    def epoch(self, row: Mapping[str, float]) -> None:
        self._log("  ".join(f"{name} {value:.5g}" for name, value in row.items()))
        self._progress.epoch(row)
        self.trackers.epoch(row)

    def finish(self) -> None:
        self._log("training ended")
        self._progress.finish()


class PhotosRead:
    """Reports that photos are read, at the first one, and then how many have been read, at most every ten seconds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._reported: float | None = None  # when it reported last

    def __call__(self, done: int, total: int) -> None:
        """Count a photo, after which `done` of `total` are read."""
        now = time.monotonic()
        if self._reported is None:
            self._reported = now
            self._progress.message(f"photos  reading {counted(total, 'photo')}")
        elif now - self._reported > _SECONDS_BETWEEN_MESSAGES:
            self._reported = now
            self._progress.message(f"photos  {done:,} of {total:,} read")
