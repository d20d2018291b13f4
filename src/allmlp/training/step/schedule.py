"""The learning rate over training."""

import math

from allmlp.errors import ConfigError
from allmlp.training.recipe.recipe import Recipe, ScheduleConfig

__all__ = ["check_warmup", "learning_rate_factor"]


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


def check_warmup(recipe: Recipe, *, num_steps: int) -> None:
    """Check that a run of so many steps is more than its warm-up: the learning rate would never reach its peak.

    Raises:
        ConfigError: it is not.
    """
    warmup_steps = recipe.schedule.warmup_steps
    if warmup_steps is not None and warmup_steps >= num_steps:
        raise ConfigError(
            f"schedule.warmup_steps is {warmup_steps:,}, but this data makes {num_steps:,} steps in all: the learning rate "
            "would never reach its peak. Train for longer, or let warm-up be a share of the steps: "
            "--set schedule.warmup_steps=none --set schedule.warmup=0.05."
        )
