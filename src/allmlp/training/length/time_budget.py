"""The time budget of a run: how many steps fit into the rest of it, measured while training."""

import math
import time
from dataclasses import dataclass

import numpy as np

__all__ = ["TimeBudget", "report_seconds"]

_SHARE_BETWEEN_REVISIONS = 0.02
_FIRST_REVISION_STEPS, _FIRST_REVISION_SHARE = 5, 0.1  # whichever comes first
_NUM_FIRST_STEPS = 2  # allocate memory and take longer than the others
_MEMORY = 0.5  # the weight of earlier windows in the mean duration of a step
_OPTIMISTIC_SHARE = 0.3
_REPORT_SHARE, _REPORT_SECONDS = 0.04, 8.0  # the smaller of the two


def report_seconds(minutes: float) -> float:
    """Return the time that is left for the report of a run of so many minutes."""
    return min(_REPORT_SHARE * 60 * minutes, _REPORT_SECONDS)


@dataclass(kw_only=True)
class TimeBudget:
    """Plans the number of steps of a run so that it ends when its time is used up.

    Steps and validations are timed apart: a validation follows each epoch, and may take as long as many steps. Every 2 % of
    the budget, the steps that still fit are counted anew, so that other work on the machine shortens the run by as much as
    it takes, no more. In the first third, the fast steps so far count more than the latest: to shorten a run that was planned
    too long costs little, but a learning rate that has fallen too early does not rise again.

    Args:
        minutes: the budget, from the start of the command's work to the end of the report.
        planned: the number of steps if time is no limit.
        steps_per_epoch: may be a fraction.
        spent_seconds: of the budget, before the first step of this session.
        finishing_validations: how many validations take as long as scoring the best checkpoint in the end.
    """

    minutes: float
    planned: int
    steps_per_epoch: float
    spent_seconds: float
    finishing_validations: float = 2.0

    def __post_init__(self) -> None:
        now = time.monotonic()
        self._started = now - self.spent_seconds
        self._last_tick = self._last_revision = now
        self._times: list[float] = []  # of the steps of the first third
        self._num_steps, self._num_in_window, self._seconds_in_window = 0, 0, 0.0
        self._step_seconds: float | None = None
        self._revised = self.planned
        self._validation_seconds = 0.0

    def step_ended(self) -> None:
        """Time a step, from the end of the previous step or validation."""
        seconds = self._lap()
        self._num_steps += 1
        if self._num_steps > _NUM_FIRST_STEPS:
            self._num_in_window += 1
            self._seconds_in_window += seconds
            if self._used() < _OPTIMISTIC_SHARE:
                self._times.append(seconds)

    def validation_ended(self) -> None:
        """Time a validation, with the saving of its checkpoint."""
        self._validation_seconds = self._lap()

    def revised(self, step: int) -> int | None:
        """Return the number of steps of the run, of which `step` are done, when it is time to count again; else None."""
        now = time.monotonic()
        if not self._num_in_window or not self._is_due(step, now):
            return None
        mean = self._seconds_in_window / self._num_in_window
        before = mean if self._step_seconds is None else self._step_seconds
        self._step_seconds = _MEMORY * before + (1 - _MEMORY) * mean
        self._last_revision, self._num_in_window, self._seconds_in_window = now, 0, 0.0
        seconds_left = 60 * self.minutes - (now - self._started) - self._finishing_seconds()
        num_steps = step + math.floor(seconds_left / self._seconds_per_step())
        self._revised = min(max(num_steps, step + 1), self.planned)
        return self._revised

    def _is_due(self, step: int, now: float) -> bool:
        if self._step_seconds is None:
            return self._num_in_window >= _FIRST_REVISION_STEPS or self._used() > _FIRST_REVISION_SHARE
        is_almost_over = step + 1 >= self._revised < self.planned
        return is_almost_over or now - self._last_revision >= _SHARE_BETWEEN_REVISIONS * 60 * self.minutes

    def _used(self) -> float:
        """Return the share of the budget that has been used."""
        return (time.monotonic() - self._started) / (60 * self.minutes)

    def minutes_needed(self, step: int) -> float:
        """Return the minutes that all planned steps would take in total, given that `step` are done."""
        seconds = (time.monotonic() - self._started) + (self.planned - step) * self._seconds_per_step()
        return (seconds + self._finishing_seconds()) / 60

    def _seconds_per_step(self) -> float:
        seconds = self._step_seconds or 0.0
        if self._times:
            latest = min(1.0, self._used() / _OPTIMISTIC_SHARE)
            seconds = latest * seconds + (1.0 - latest) * min(seconds, float(np.quantile(self._times, 0.25)))
        return seconds + self._validation_seconds / max(1.0, self.steps_per_epoch)  # at most one follows a step

    def _finishing_seconds(self) -> float:
        return self.finishing_validations * self._validation_seconds + report_seconds(self.minutes)

    def _lap(self) -> float:
        now = time.monotonic()
        seconds, self._last_tick = now - self._last_tick, now
        return seconds
