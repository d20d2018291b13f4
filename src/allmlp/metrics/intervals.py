"""How sure a score is: the confidence interval of a proportion, and the exact test of two classifiers on the same photos."""

import math

__all__ = ["ROUGH_INTERVAL", "accuracy_text", "cross_validation_interval", "mcnemar_p_value", "wilson_interval"]

ROUGH_INTERVAL = 0.15
"""A wider interval is shown in place of the accuracy, which then says little."""

_NARROW_INTERVAL = 0.01  # a narrower one gives the second decimal of the percentages a meaning


def wilson_interval(num_correct: float, num_examples: float) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion; (0, 1) without examples.

    Source: E. B. Wilson, 1927. Unlike the normal interval, it stays within 0..1 for few photos and extreme rates.
    """
    if not num_examples:
        return 0.0, 1.0
    z = 1.959963984540054
    rate, scale = num_correct / num_examples, 1 + z * z / num_examples
    centre = (rate + z * z / (2 * num_examples)) / scale
    spread = z / scale * math.sqrt(rate * (1 - rate) / num_examples + z * z / (4 * num_examples**2))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def cross_validation_interval(num_correct: int, num_examples: int, num_folds: int) -> tuple[float, float]:
    """Return the 95 % interval of the accuracy of a model that is trained on all n photos, from cross-validation in K folds.

    It is wider than that of n independent photos: the models of the folds share most of their training photos, so that all of
    them may have a lucky or an unlucky draw. The variance is (1/K + 1/(K - 1)) of one fold's instead of 1/K, so that n photos
    count as n (K - 1) / (2 K - 1): with 5 folds, as 4/9 of them.

    Source: C. Nadeau and Y. Bengio, Inference for the Generalization Error, Machine Learning 52, 2003 (the corrected variance
    of resampled scores).
    """
    share = (num_folds - 1) / (2 * num_folds - 1)
    return wilson_interval(share * num_correct, share * num_examples)


def mcnemar_p_value(num_only_first: int, num_only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test of two classifiers on the same photos.

    The arguments count the photos that only one of the two classified correctly. If both were equally good, each of these
    photos would fall to either with probability 1/2.

    Source: Q. McNemar, 1947; the exact form is the binomial test.
    """
    n, k = num_only_first + num_only_second, min(num_only_first, num_only_second)
    # Not math.comb: sums of integers with thousands of digits are slow, and the logarithm is exact to 12 digits.
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def accuracy_text(num_correct: int, num_examples: int, interval: tuple[float, float]) -> str:
    """Return an accuracy with its 95 % interval, for people: "91.2% (1,094 of 1,200; 95% interval 89.4% to 92.7%)".

    While the interval is wide, it stands for the accuracy: "73% to 99% (16 of 17; 95% interval)".
    """
    low, high = interval
    counts = f"{num_correct:,} of {num_examples:,}"
    if high - low > ROUGH_INTERVAL:
        return f"{low:.0%} to {high:.0%} ({counts}; 95% interval)"
    digits = 2 if high - low < _NARROW_INTERVAL else 1
    rate = num_correct / num_examples
    return f"{rate:.{digits}%} ({counts}; 95% interval {low:.{digits}%} to {high:.{digits}%})"
