"""A mean over seeds: in words, and whether it is surely positive, as SciPy's Student's t has it."""

import pytest
from scipy import stats

from allmlp.provenance import spread
from allmlp.studies.spreads import (
    is_surely_above,
    is_surely_below,
    is_surely_positive,
    mean_and_std,
    verdict_on_gain,
)


def test_one_seed_has_no_standard_deviation() -> None:
    assert mean_and_std(spread([0.5]), scale=100) == "50.0"
    assert mean_and_std(spread([0.5, 0.5]), scale=100) == "50.0 ± 0.0"
    assert mean_and_std(spread([1.0, 3.0]), 2, signed=True) == "+2.00 ± 1.41"
    assert mean_and_std(spread([-1.5]), signed=True) == "-1.5"


def test_a_mean_of_few_seeds_is_surely_positive_only_if_they_are_close() -> None:
    assert not is_surely_positive(spread([0.2, 0.9]))
    assert is_surely_positive(spread([0.5, 0.55, 0.6]))
    assert not is_surely_positive(spread([-0.5, -0.55, -0.6]))
    assert not is_surely_positive(spread([0.9]))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_sure_is_what_chance_explains_in_at_most_5_of_100_cases(n: int) -> None:
    limit = stats.t.ppf(0.95, n - 1) / n**0.5
    assert not is_surely_positive({"n": n, "mean": 0.998 * limit, "std": 1.0})
    assert is_surely_positive({"n": n, "mean": 1.002 * limit, "std": 1.0})
    many = {"n": 100, "mean": stats.t.ppf(0.95, 99) / 10, "std": 1.0}
    assert not is_surely_positive(many)


def test_a_bound_moves_what_is_sure() -> None:
    values = spread([0.5, 0.55, 0.6])
    assert is_surely_above(values, 0.4) and not is_surely_above(values, 0.54)
    assert is_surely_below(values, 0.7) and not is_surely_below(values, 0.56)
    assert not is_surely_above(spread([0.9]), 0.0) and not is_surely_below(spread([0.9]), 1.0)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ([1.0, 1.1, 1.2], "Agrees with the paper"),
        ([1.0, 5.0], "Points the same way"),
        ([1.0], "Points the same way"),
        ([0.0, 0.0], "Points the other way"),
        ([-1.0], "Points the other way"),
        ([-1.0, -5.0], "Points the other way"),
        ([-1.0, -1.1, -1.2], "Does not agree"),
    ],
)
def test_a_verdict_takes_as_much_certainty_either_way(gains: list[float], expected: str) -> None:
    assert verdict_on_gain(spread(gains)) == expected
