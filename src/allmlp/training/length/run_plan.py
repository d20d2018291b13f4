"""The plan of a run: how many steps it takes, the learning rate at each, and when its time budget changes that."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from allmlp.io.display import counted
from allmlp.training.length.fold_budget import FoldLength, minutes_of_run
from allmlp.training.length.time_budget import TimeBudget
from allmlp.training.progress import Progress
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.snapshots.history import TrainingHistory
from allmlp.training.step.schedule import RunLength, learning_rate_factor

__all__ = ["MAX_TRAINING_PHOTOS", "RunPlan"]

MAX_TRAINING_PHOTOS = 1000
"""How many training photos are scored in the end: enough for an accuracy to within 3 points."""

_NEWS = 0.1  # a number of steps that differs by this share is worth a line


class RunPlan:
    """The number of steps of a run on splits with these numbers of photos, and the learning rate at each.

    A time budget may revise the number of steps while the run trains; `TrainingHistory.revisions` records how, so that a
    resumed run, or another one with these revisions in its recipe, takes the same steps.

    Attributes:
        folds: how long the runs of the folds were, once a cross-validated run has trained them.
        setup_seconds: what setting up this session took; 0 before training starts.
    """

    def __init__(self, recipe: ResolvedRecipe, sizes: Mapping[str, int]) -> None:
        self._recipe = recipe
        self._sizes = sizes
        self._num_photos = sizes["train"]
        self._length = RunLength(planned=recipe.num_steps_on(self._num_photos), revisions=recipe.schedule.revisions)
        self._minutes = recipe.max_minutes
        self._is_fold = False
        self.folds: tuple[FoldLength, ...] = ()
        self.setup_seconds = 0.0
        self._budget: TimeBudget | None = None
        self._told = self.planned_steps

    @property
    def planned_steps(self) -> int:
        """The number of steps if time is no limit."""
        return self._length.planned

    @property
    def num_steps(self) -> int:
        """The number of steps, as far as known."""
        return self._length.num_steps

    def restore(self, history: TrainingHistory) -> None:
        """Take over the revisions of a run that resumes."""
        if history.revisions:
            self._length = dataclasses.replace(self._length, revisions=history.revisions)
            self._told = self.num_steps

    def take_minutes(self, minutes: float | None) -> None:
        """Take the time of a fold from its run, which also counts the time of its scores."""
        self._minutes, self._is_fold = minutes, True

    def add_folds(self, folds: Sequence[FoldLength], history: TrainingHistory) -> None:
        """Take over how long the runs of the folds were."""
        self.folds = tuple(folds)
        needed = [fold.minutes_needed for fold in folds if fold.minutes_needed is not None]
        if needed:
            history.minutes_needed = max(history.minutes_needed or 0.0, (1 + len(folds)) * max(needed))

    @property
    def fold_revisions(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """The revisions of each fold, if a time budget made them; see `ScheduleConfig`."""
        return tuple(fold.revisions for fold in self.folds) if self._recipe.max_minutes is not None else ()

    def start_budget(self, history: TrainingHistory, *, setup_seconds: float) -> None:
        """Count the time from now on, if the recipe limits it; what setting up took is part of it."""
        self.setup_seconds = setup_seconds
        num_folds = self._recipe.data.folds
        if self._minutes is not None and num_folds:
            self._minutes = minutes_of_run(self._minutes, num_folds, setup_seconds=setup_seconds)
        scored = sum(self._sizes.values()) - self._num_photos + min(self._num_photos, MAX_TRAINING_PHOTOS)
        validations = scored / self._sizes.get("validation", scored)
        if self._minutes is not None:
            self._budget = TimeBudget(
                minutes=self._minutes,
                planned=self.planned_steps,
                steps_per_epoch=self._num_photos / self._recipe.batch_size,
                spent_seconds=history.seconds + setup_seconds,
                finishing_validations=0.0 if num_folds or self._is_fold else validations,
            )

    def step_ended(self) -> None:
        """Time a step."""
        if self._budget is not None:
            self._budget.step_ended()

    def validation_ended(self, step: int, history: TrainingHistory, progress: Progress) -> None:
        """Time a validation; end the run with it if the recipe's patience is over, else record what a short run would need."""
        if self._budget is not None:
            self._budget.validation_ended()
            if step == self.num_steps < self.planned_steps:
                history.minutes_needed = (1 + self._recipe.data.folds) * self._budget.minutes_needed(step)
        patience = self._recipe.patience
        if patience is not None and step < self.num_steps and self.epoch_at(step) - history.best_epoch >= patience:
            progress.message(f"patience: no better weights for {counted(patience, 'epoch')}, so the run ends early")
            history.revisions = (*history.revisions, (step, step))
            self._length = dataclasses.replace(self._length, revisions=history.revisions)

    def wanted_steps(self, step: int) -> int | None:
        """Return the number of steps by this process's clock, of which `step` are done; None to leave it.

        The last step is never put off: its validation and its snapshot mark the end of the run.
        """
        return None if self._budget is None or step == self.num_steps else self._budget.revised(step)

    def revise(self, step: int, num_steps: int | None, history: TrainingHistory, progress: Progress) -> None:
        """End the run after `num_steps` steps, of which `step` are done; None leaves it."""
        if num_steps is None or num_steps == self.num_steps:
            return
        history.revisions = (*history.revisions, (step, num_steps))
        self._length = dataclasses.replace(self._length, revisions=history.revisions)
        progress.revise(num_steps)
        if abs(num_steps - self._told) > _NEWS * self._told:
            self._told = num_steps
            epochs = counted(self._recipe.num_epochs, "epoch")
            progress.message(
                f"time    {_rounded(self.epochs_at(num_steps), 3):,.10g} of {epochs} fit into {self._minutes:.3g} minutes"
            )

    def learning_rate_factor(self, step: int) -> float:
        """Return the factor on the peak learning rate at `step`, counted from 0."""
        place = self._length.scheduled_step(step)
        return learning_rate_factor(self._recipe.schedule, step=place, num_steps=self.planned_steps)

    def epochs_at(self, step: int) -> float:
        """Return how many epochs `step` steps are; the planned steps are the recipe's epochs, rounded to whole batches."""
        if step == self.planned_steps:
            return self._recipe.num_epochs
        return step * self._recipe.batch_size / self._num_photos

    def epoch_at(self, step: int) -> int:
        """Return the number of the epoch that ends after `step` steps, or is cut short there."""
        if step == self.planned_steps:
            return self._recipe.num_epochs
        num_seen = step * self._recipe.batch_size
        return -(-num_seen // self._num_photos) if step == self.num_steps else num_seen // self._num_photos

    def cut_short(self, history: TrainingHistory) -> str | None:
        """Return what the time budget left out, in words; None if it left out nothing."""
        if history.minutes_needed is None:
            return None
        needed = history.minutes_needed
        return (
            f"cut short: {', and '.join(self._shortened())} fit into {self._recipe.max_minutes:g} minutes. All of them would "
            f"take about {counted(_rounded(needed, 2), 'minute')} on this machine: --max-minutes {math.ceil(1.1 * needed)}"
        )

    def _shortened(self) -> list[str]:
        """Return how much of the run and of its folds was trained, of what a time budget shortened."""
        found = []
        if self.num_steps < self.planned_steps:
            found.append(
                f"{_rounded(self.epochs_at(self.num_steps), 3):,.10g} of {counted(self._recipe.num_epochs, 'epoch')}"
            )
        steps = sorted(fold.revisions[-1][1] for fold in self.folds if fold.minutes_needed is not None)
        if steps:
            span = f"{steps[0]:,}" if steps[0] == steps[-1] else f"{steps[0]:,} to {steps[-1]:,}"
            found.append(
                f"{span} of {self.planned_steps:,} steps in {len(steps)} of {counted(len(self.folds), 'fold')}"
            )
        return found


def _rounded(value: float, num_digits: int) -> float:
    """Return a value with so many significant digits, which prints without an exponent if it is large."""
    return float(f"{value:.{num_digits}g}")
