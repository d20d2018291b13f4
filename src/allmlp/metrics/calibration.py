"""Whether probabilities are honest: reliability, expected calibration error, and the temperature that corrects it (NumPy only).

Source: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017, arXiv 1706.04599.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.metrics.softmax import softmax

__all__ = ["NUM_BINS", "ReliabilityBin", "expected_calibration_error", "fit_temperature", "reliability"]

NUM_BINS = 15

_BLOCK = 1024  # photos at a time: in float64, those of a whole split may not fit

# Beyond these, probabilities are those of guessing or of certainty; a fit that ends there has found nothing else.
_LEAST_TEMPERATURE, _LARGEST_TEMPERATURE = 0.01, 100.0


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions with a confidence above `low` and up to `high`: how sure they are and how often they are right.

    `confidence` is their mean confidence, `accuracy` the share that is right; both are 0.0 where there are none.
    """

    low: float
    high: float
    num_examples: int
    confidence: float
    accuracy: float


def reliability(confidences: NDArray[Any], is_right: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Sort predictions into `NUM_BINS` bins of equal width by confidence, 0..1, (n,). Order does not matter."""
    edges = [index / NUM_BINS for index in range(NUM_BINS + 1)]
    wide = confidences.astype(np.float64)
    bin_indices = np.digitize(wide, edges[1:-1], right=True)
    bins = []
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        members = bin_indices == index
        count = int(members.sum())
        mean = math.fsum(wide[members]) / count if count else 0.0
        accuracy = int(is_right[members].sum()) / count if count else 0.0
        bins.append(ReliabilityBin(low, high, count, mean, accuracy))
    return tuple(bins)


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the distance between confidence and accuracy, a mean over the photos by their bins; 0..1."""
    total = sum(part.num_examples for part in bins)
    return math.fsum(part.num_examples * abs(part.accuracy - part.confidence) for part in bins) / max(total, 1)


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the T from 0.01 to 100 for which softmax(logits / T) has the least cross-entropy.

    The loss is convex in 1 / T, so that this is the zero of a rising derivative: Newton's steps, halving the interval where
    they leave it. Where every photo is right the loss falls without end as T does, which says nothing about how often
    the model errs: then, and where no T changes anything, 1.0.

    Args:
        logits: (n, K).
        labels: (n, K) rows of 0 and 1; rows without a label do not count, of several the target is spread evenly.
    """
    counted = labels.any(axis=1)
    logits, labels = logits[counted], labels[counted] > 0
    largest = logits.max(axis=1, initial=-np.inf)
    is_right = np.where(labels, logits, -np.inf).max(axis=1, initial=-np.inf) == largest
    if is_right.all() or (logits == largest[:, None]).all():
        return 1.0
    target_mean = _mean_target(logits, labels)
    low, high = 1.0 / _LARGEST_TEMPERATURE, 1.0 / _LEAST_TEMPERATURE
    if _slope(logits, low)[0] >= target_mean:
        return _LARGEST_TEMPERATURE
    if _slope(logits, high)[0] <= target_mean:
        return _LEAST_TEMPERATURE
    inverse = 1.0
    for _ in range(100):
        mean, variance = _slope(logits, inverse)
        low, high = (inverse, high) if mean < target_mean else (low, inverse)
        step = inverse - (mean - target_mean) / variance if variance > 0 else low
        after = step if low < step < high else (low + high) / 2
        if abs(after - inverse) <= 1e-12 * inverse:
            break
        inverse = after
    return float(1.0 / inverse)


def _shifted(logits: NDArray[Any]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield logits less each photo's largest, which softmax does not see, some photos at a time."""
    for start in range(0, len(logits), _BLOCK):
        rows = slice(start, start + _BLOCK)
        wide = logits[rows].astype(np.float64)
        yield rows, wide - wide.max(axis=1, keepdims=True)


def _mean_target(logits: NDArray[Any], labels: NDArray[np.bool_]) -> float:
    """Return the mean over photos of the mean of their labels' logits."""
    targets = [(wide * labels[rows]).sum(axis=1) / labels[rows].sum(axis=1) for rows, wide in _shifted(logits)]
    return math.fsum(np.concatenate(targets)) / len(logits)


def _slope(logits: NDArray[Any], inverse: float) -> tuple[float, float]:
    """Return the mean over photos of the logits' mean, and of their variance, under softmax(logits * inverse)."""
    means, variances = [], []
    for _, wide in _shifted(logits):
        weights = softmax(wide * inverse)
        mean = (weights * wide).sum(axis=1)
        means.append(mean)
        variances.append((weights * (wide - mean[:, None]) ** 2).sum(axis=1))
    return math.fsum(np.concatenate(means)) / len(logits), math.fsum(np.concatenate(variances)) / len(logits)
