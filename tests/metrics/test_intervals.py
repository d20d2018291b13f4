"""Intervals and the paired test: scipy is the oracle."""

import pytest
from scipy.stats import binomtest

from allmlp.metrics import mcnemar_p_value, wilson_interval


@pytest.mark.parametrize(("num_correct", "num_examples"), [(0, 1), (16, 17), (138, 176), (1, 1000), (49_000, 50_000)])
def test_the_interval_is_wilsons(num_correct: int, num_examples: int) -> None:
    expected = binomtest(num_correct, num_examples).proportion_ci(method="wilson")
    assert wilson_interval(num_correct, num_examples) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_nothing_scored_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (1, 0), (5, 5), (3, 12), (12, 3), (40, 80), (2_000, 2_200), (5_000, 5_000)]
)
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_p_value(first, second) == pytest.approx(expected, rel=1e-9)
