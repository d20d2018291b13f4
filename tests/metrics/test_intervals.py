"""Intervals and the paired test: scipy is the oracle."""

import pytest
from scipy.stats import binomtest

from allmlp.metrics import ROUGH_INTERVAL, accuracy_text, cross_validation_interval, mcnemar_p_value, wilson_interval


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


@pytest.mark.parametrize(
    ("num_correct", "num_examples", "text"),
    [  # the intervals are scipy's, binomtest(...).proportion_ci(method="wilson")
        (16, 17, "73% to 99% (16 of 17; 95% interval)"),
        (138, 176, "78.4% (138 of 176; 95% interval 71.8% to 83.8%)"),
        (38_220, 50_000, "76.44% (38,220 of 50,000; 95% interval 76.07% to 76.81%)"),
    ],
)
def test_a_wide_interval_stands_for_the_accuracy(num_correct: int, num_examples: int, text: str) -> None:
    interval = binomtest(num_correct, num_examples).proportion_ci(method="wilson")
    assert accuracy_text(num_correct, num_examples, (interval.low, interval.high)) == text
    assert (interval.high - interval.low > ROUGH_INTERVAL) == text.endswith("95% interval)")
