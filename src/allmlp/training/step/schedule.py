"""The learning-rate schedule: linear warm-up, then cosine or linear decay, over a length that may be revised on the way."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from allmlp.training.recipe.configs import ScheduleConfig

__all__ = ["RunLength", "learning_rate_factor"]


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """The number of steps of a run: as planned, or revised on the way so that it ends within its time.

    Attributes:
        planned: the number of steps without revisions.
        revisions: pairs (step, number of steps): from that step on, the run is to end after that many steps. In the order of
            the steps.
    """

    planned: int
    revisions: Sequence[tuple[int, int]] = ()

    @property
    def num_steps(self) -> int:
        """The number of steps of the run, as far as known."""
        return self.revisions[-1][1] if self.revisions else self.planned

    def scheduled_step(self, step: int) -> float:
        """Return the place of `step` in the planned schedule, from 0 to `planned`.

        Each revision spreads the rest of the schedule over the steps that are left, so that it ends at the last one without a
        jump. Without revisions, it is `step` itself.
        """
        place, start, end = 0.0, 0, self.planned
        for revised_at, num_steps in self.revisions:
            if revised_at > step:
                break
            place = _between(place, self.planned, (revised_at - start) / max(1, end - start))
            start, end = revised_at, num_steps
        return (
            step
            if start == 0 and end == self.planned
            else _between(place, self.planned, (step - start) / max(1, end - start))
        )


def learning_rate_factor(schedule: ScheduleConfig, *, step: float, num_steps: int) -> float:
    """Return the factor on the peak learning rate at `step`, counted from 0.

    It rises linearly to 1 over `warmup × num_steps` or `warmup_steps` steps, then falls to `final_fraction` at the end. So
    that the first step is not wasted on a rate of 0, step i of w warm-up steps uses (i + 1) / w where the authors' code uses
    i / w. From step w on both are the same. A step between two whole numbers is the place of a step in a schedule of another
    length (`RunLength.scheduled_step`).
    """
    warmup_steps = schedule.warmup_steps
    if warmup_steps is None:
        warmup_steps = round(schedule.warmup * num_steps)
    if step < warmup_steps:
        return min(1.0, (step + 1) / warmup_steps)
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    decay = 0.5 * (1.0 + math.cos(math.pi * progress)) if schedule.decay == "cosine" else 1.0 - progress
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * decay


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
