"""The Pareto frontier of networks: which are the best at their cost, and how far the others are below their rivals."""

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


def shortfalls(costs: Sequence[float], values: Sequence[float], rivals: Sequence[int]) -> list[float | None]:
    """Return how far each point is below the best rival of at most its cost: 0 if it is not below, None without such a rival.

    `rivals` are indices of points. If all are rivals, those on the frontier have 0.
    """
    found: list[float | None] = []
    for cost, value in zip(costs, values, strict=True):
        best = max((values[index] for index in rivals if costs[index] <= cost), default=None)
        found.append(None if best is None else max(0.0, best - value))
    return found
