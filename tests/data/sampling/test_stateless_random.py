"""Random numbers that are functions of (seed, epoch, sample): uniform, and independent of the listing."""

import numpy as np

from allmlp.data import (
    uniform,
)
from allmlp.data.sampling.stateless_random import epoch_order, sample_keys

IDENTITIES = [f"class{index % 3}/photo{index:03}.png" for index in range(97)]


def test_the_order_is_that_of_identities_not_of_listing() -> None:
    shuffled = list(np.random.default_rng(1).permutation(IDENTITIES))
    first = [IDENTITIES[index] for index in epoch_order(5, 2, sample_keys(IDENTITIES))]
    second = [shuffled[index] for index in epoch_order(5, 2, sample_keys(shuffled))]
    assert first == second


def test_seeds_and_epochs_give_different_orders() -> None:
    keys = sample_keys(IDENTITIES)
    orders = {tuple(epoch_order(seed, epoch, keys)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_draws_are_uniform_and_uncorrelated() -> None:
    draws = uniform(0, 0, sample_keys([str(index) for index in range(20_000)]), 6)
    assert draws.min() >= 0.0 and draws.max() < 1.0
    for column in draws.T:
        # Kolmogorov–Smirnov: 1.95 / sqrt(n) is exceeded by chance once in a thousand times; the draws are fixed.
        assert np.abs(np.sort(column) - np.arange(20_000) / 20_000).max() < 1.95 / np.sqrt(20_000)
    assert np.abs(np.corrcoef(draws.T) - np.eye(6)).max() < 0.03
    next_epoch = uniform(0, 1, sample_keys([str(index) for index in range(20_000)]), 1)
    assert abs(np.corrcoef(draws[:, 0], next_epoch[:, 0])[0, 1]) < 0.03
