"""The learning-rate schedule: linear warm-up, then cosine or linear decay."""

import math

from allmlp.training.recipe.configs import ScheduleConfig

__all__ = ["learning_rate_factor"]


def learning_rate_factor(schedule: ScheduleConfig, *, step: int, num_steps: int) -> float:
    """Return the factor on the peak learning rate at `step`, counted from 0.

    It rises linearly to 1 over `warmup × num_steps` or `warmup_steps` steps, then falls to `final_fraction` at the end. So
    that the first step is not wasted on a rate of 0, step i of w warm-up steps uses (i + 1) / w where the authors' code uses
    i / w. From step w on both are the same.
    """
    warmup_steps = schedule.warmup_steps
    if warmup_steps is None:
        warmup_steps = round(schedule.warmup * num_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    decay = 0.5 * (1.0 + math.cos(math.pi * progress)) if schedule.decay == "cosine" else 1.0 - progress
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * decay
