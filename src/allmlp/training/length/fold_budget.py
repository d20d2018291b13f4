"""The time of a cross-validated run, shared among the run itself, its folds, and the scores and the report at its end."""

import time
from dataclasses import dataclass
from typing import NamedTuple

from allmlp.training.length.time_budget import report_seconds

__all__ = ["FoldBudget", "FoldLength", "minutes_of_run"]

_LEAST_SECONDS = 1.0  # of a run whose time is used up


class FoldLength(NamedTuple):
    """How a time budget changed the length of the run of a fold.

    revisions: of its number of steps; see `RunLength`.
    minutes_needed: what all of its steps would have taken, if the budget cut it short; None if it did not.
    """

    revisions: tuple[tuple[int, int], ...]
    minutes_needed: float | None


def minutes_of_run(minutes: float, num_folds: int, *, setup_seconds: float) -> float:
    """Return the share that the run itself has in the time of a cross-validated run: as much as each of its folds."""
    seconds = (60 * minutes - setup_seconds - report_seconds(minutes)) / (1 + num_folds)
    return max(seconds, _LEAST_SECONDS) / 60


@dataclass(kw_only=True)
class FoldBudget:
    """Shares what is left of the time of a cross-validated run among the folds that are left, so that the whole ends in time.

    The scores of a fold are computed after its run, and those of the whole at the end, when the run is set up once more. Their
    time is set aside: as much as the slowest fold has taken, and for the first one as much as the setup of the run, which
    reads the same photos.

    Args:
        minutes: of the whole.
        num_folds: that are still to be trained.
        spent_seconds: what the run, its setup, and the folds of earlier sessions have taken.
        setup_seconds: of the run.
        end_ratio: the number of photos that are scored at the end, relative to those that are scored for a fold.
    """

    minutes: float
    num_folds: int
    spent_seconds: float
    setup_seconds: float
    end_ratio: float

    def __post_init__(self) -> None:
        self._started = time.monotonic() - self.spent_seconds
        self._scoring_seconds: float | None = None

    def minutes_of_fold(self) -> float:
        """Return the time for the run of the next fold, from the start of its setup."""
        scoring = self.setup_seconds if self._scoring_seconds is None else self._scoring_seconds
        end = self.setup_seconds + self.end_ratio * scoring + report_seconds(self.minutes)
        seconds_left = 60 * self.minutes - (time.monotonic() - self._started) - end
        return max(seconds_left / self.num_folds - scoring, _LEAST_SECONDS) / 60

    def fold_ended(self, *, scoring_seconds: float) -> None:
        """Count a fold, whose scores took so long after its run."""
        self.num_folds -= 1
        self._scoring_seconds = max(scoring_seconds, self._scoring_seconds or 0.0)
