"""The Pareto frontier of networks: which are the best at their cost, and how far the others are below it."""

from collections.abc import Sequence

__all__ = ["frontier", "shortfalls"]


def frontier(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Return the indices of the points on the Pareto frontier, by rising cost; a higher value is better.

    A point is on it if no other has at most its cost and at least its value, and differs from it.
    """
    points = list(zip(costs, values, strict=True))
    best = (
        index
        for index, (cost, value) in enumerate(points)
        if not any(
            other_cost <= cost and other_value >= value and (other_cost, other_value) != (cost, value)
            for other_cost, other_value in points
        )
    )
    return sorted(best, key=lambda index: costs[index])


def shortfalls(costs: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return how far each point is below the best value at its cost or less; 0 for those on the frontier."""
    points = list(zip(costs, values, strict=True))
    return [max(other for other_cost, other in points if other_cost <= cost) - value for cost, value in points]
