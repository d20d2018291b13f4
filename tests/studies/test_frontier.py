"""The Pareto frontier against its definition, on random points with ties."""

import itertools

import numpy as np
import pytest

from allmlp.studies.frontier import frontier, shortfalls


def test_a_known_frontier() -> None:
    costs = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0]
    values = [0.3, 0.5, 0.4, 0.5, 0.7, 0.6]
    assert frontier(costs, values) == [0, 1, 4]
    assert shortfalls(costs, values, range(6)) == pytest.approx([0, 0, 0.1, 0, 0, 0.1])


def test_only_rivals_of_at_most_its_cost_are_above_a_point() -> None:
    costs = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0]
    values = [0.3, 0.5, 0.4, 0.5, 0.7, 0.6]
    assert shortfalls(costs, values, [2, 5]) == [None, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert shortfalls(costs, values, [4])[:4] == [None] * 4
    assert shortfalls(costs, values, [4])[4:] == pytest.approx([0.0, 0.1])


@pytest.mark.parametrize("seed", range(30))
def test_the_frontier_is_what_no_other_point_beats(seed: int) -> None:
    draws = np.random.default_rng(seed)
    points = draws.integers(0, 8, (25, 2)).astype(float)  # few values, so that there are ties
    costs, values = points[:, 0].tolist(), points[:, 1].tolist()
    best = frontier(costs, values)
    for index, (cost, value) in enumerate(points):
        beaten = ((points[:, 0] <= cost) & (points[:, 1] >= value) & ((points != (cost, value)).any(axis=1))).any()
        assert (index in best) == (not beaten)
    # Along the frontier, a higher cost buys a higher value.
    steps = sorted({(costs[index], values[index]) for index in best})
    assert all(left[0] < right[0] and left[1] < right[1] for left, right in itertools.pairwise(steps))
    assert [costs[index] for index in best] == sorted(costs[index] for index in best)


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_points_does_not_matter(seed: int) -> None:
    draws = np.random.default_rng(seed)
    costs, values = draws.random((2, 20)).tolist()
    order = draws.permutation(20)
    moved_costs, moved_values = ([sequence[index] for index in order] for sequence in (costs, values))
    assert [order[index] for index in frontier(moved_costs, moved_values)] == frontier(costs, values)
    below = shortfalls(costs, values, range(20))
    assert shortfalls(moved_costs, moved_values, range(20)) == [below[index] for index in order]
    assert all(below[index] == 0 for index in frontier(costs, values))
    assert all(value is not None and value >= 0 for value in below)


def test_a_single_point_and_none() -> None:
    assert frontier([1.0], [0.5]) == [0]
    assert shortfalls([1.0], [0.5], [0]) == [0]
    assert frontier([], []) == shortfalls([], [], []) == []
