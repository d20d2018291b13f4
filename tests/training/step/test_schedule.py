"""The learning rate over the steps, against torch's schedulers and the authors' code."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from allmlp.training import ScheduleConfig
from allmlp.training.step.schedule import learning_rate_factor


def test_cosine_decay_equals_torch_after_the_warm_up():
    schedule = ScheduleConfig(warmup=0.1, final_fraction=0.0)
    factors = [learning_rate_factor(schedule, step=step, num_steps=100) for step in range(100)]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
    for factor in factors[10:]:
        assert factor == pytest.approx(reference.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        reference.step()
    assert factors[:10] == pytest.approx([0.1 * step for step in range(1, 11)])


def test_linear_decay_ends_at_the_final_fraction():
    schedule = ScheduleConfig(warmup=0.0, decay="linear", final_fraction=0.1)
    factors = [learning_rate_factor(schedule, step=step, num_steps=11) for step in range(12)]
    assert np.allclose(np.diff(factors), -0.9 / 11)
    assert factors[0] == 1.0
    assert factors[11] == pytest.approx(0.1)


def authors_factor(step, *, total_steps, warmup_steps, decay_type, linear_end=0.0):
    """The learning rate of the authors' code for a base of 1 (big_vision/utils.py, create_learning_rate_schedule)."""
    progress = min(max((step - warmup_steps) / (total_steps - warmup_steps), 0.0), 1.0)
    if decay_type == "linear":
        factor = linear_end + (1.0 - linear_end) * (1.0 - progress)
    else:
        factor = 0.5 * (1.0 + math.cos(math.pi * progress))
    return factor * min(1.0, step / warmup_steps)


@pytest.mark.parametrize(
    ("decay", "num_steps", "warmup_steps", "final"),
    [("linear", 93_834, 10_000, 1e-5), ("linear", 12_000, 10_000, 0.0), ("cosine", 10_000, 500, 0.0)],
)
def test_warm_up_in_steps_and_decay_are_the_authors(decay, num_steps, warmup_steps, final):
    schedule = ScheduleConfig(warmup_steps=warmup_steps, decay=decay, final_fraction=final)
    options = {"total_steps": num_steps, "warmup_steps": warmup_steps, "decay_type": decay, "linear_end": final}
    for step in {*range(0, num_steps, 97), warmup_steps - 1, warmup_steps, num_steps - 1}:
        factor = learning_rate_factor(schedule, step=step, num_steps=num_steps)
        if step < warmup_steps:
            # One step ahead, so that the first step is not one of rate 0.
            assert factor == pytest.approx((step + 1) / warmup_steps, rel=1e-12)
            assert factor - authors_factor(step, **options) == pytest.approx(1 / warmup_steps, rel=1e-9)
        else:
            assert factor == pytest.approx(authors_factor(step, **options), rel=1e-12)
