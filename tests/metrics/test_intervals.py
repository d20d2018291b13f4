"""Intervals and the paired test: scipy is the oracle."""

import pytest
from scipy.stats import binomtest

from allmlp.metrics import cross_validation_interval, mcnemar_p_value, wilson_interval


@pytest.mark.parametrize(("num_correct", "num_examples"), [(0, 1), (16, 17), (138, 176), (1, 1000), (49_000, 50_000)])
def test_the_interval_is_wilsons(num_correct: int, num_examples: int) -> None:
    expected = binomtest(num_correct, num_examples).proportion_ci(method="wilson")
    assert wilson_interval(num_correct, num_examples) == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize("num_folds", [2, 5, 10])
def test_cross_validation_widens_the_interval_by_the_correction_of_nadeau_and_bengio(num_folds: int) -> None:
    num_examples = 1_000_000  # where Wilson's interval is the normal one
    low, high = wilson_interval(num_examples // 2, num_examples)
    low_of_folds, high_of_folds = cross_validation_interval(num_examples // 2, num_examples, num_folds)
    ratio = (1 / num_folds + 1 / (num_folds - 1)) / (1 / num_folds)  # of the variances
    assert ((high_of_folds - low_of_folds) / (high - low)) ** 2 == pytest.approx(ratio, rel=1e-4)


def test_nothing_scored_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (1, 0), (5, 5), (3, 12), (12, 3), (40, 80), (2_000, 2_200), (5_000, 5_000)]
)
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_p_value(first, second) == pytest.approx(expected, rel=1e-9)
