"""The order of training: every sample once an epoch, a function of (seed, step), known by value."""

import hashlib

import numpy as np
import pytest

from allmlp.data import (
    TrainingOrder,
)

IDENTITIES = [f"class{index % 3}/photo{index:03}.png" for index in range(97)]


@pytest.mark.parametrize("batch_size", [1, 8, 97, 250])
def test_every_epoch_sees_every_sample_once_whatever_the_batch_size(batch_size: int) -> None:
    order = TrainingOrder(IDENTITIES, seed=0, batch_size=batch_size)
    num_steps = -(-3 * 97 // batch_size)
    seen = [np.concatenate(parts) for parts in zip(*(order.batch(step) for step in range(num_steps)), strict=True)]
    for epoch in range(3):
        assert sorted(seen[0][seen[1] == epoch]) == list(range(97))


def test_a_step_can_be_asked_for_alone() -> None:
    in_turn = TrainingOrder(IDENTITIES, seed=3, batch_size=10)
    batches = [in_turn.batch(step) for step in range(30)]
    for step in (29, 0, 17):
        alone = TrainingOrder(IDENTITIES, seed=3, batch_size=10).batch(step)
        assert all(np.array_equal(one, two) for one, two in zip(alone, batches[step], strict=True))


def test_the_uniform_order_is_known_by_value() -> None:
    # A change would make every run that was begun before go on with other samples.
    order = TrainingOrder(IDENTITIES, seed=3, batch_size=10)
    digest = hashlib.sha256()
    for step in range(30):
        for part in order.batch(step):
            digest.update(part.astype("<i8").tobytes())
    assert digest.hexdigest() == "28176f250d9f608a23e738be4c9e8481700b2aecdb8f77ede86ca222380fbcec"
