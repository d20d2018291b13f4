"""The learning rate over training."""

import math

from allmlp.training.recipe.configs import ScheduleConfig

__all__ = ["learning_rate_factor"]


def learning_rate_factor(schedule: ScheduleConfig, *, step: int, num_steps: int) -> float:
    """Return what the peak learning rate is multiplied by at `step`, counted from 0.

    Warm-up rises in a line to 1 at step `warmup × num_steps`, or `warmup_steps`; then the rate falls, reaching
    `final_fraction` at the end. The first step is not wasted on a rate of 0: step i of a warm-up of w steps uses (i + 1) / w,
    where the authors' code uses i / w. From step w on it is the same.
    """
    warmup_steps = schedule.warmup_steps
    if warmup_steps is None:
        warmup_steps = round(schedule.warmup * num_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    falling = 0.5 * (1.0 + math.cos(math.pi * progress)) if schedule.decay == "cosine" else 1.0 - progress
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * falling
