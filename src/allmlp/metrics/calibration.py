"""Calibration of probabilities: reliability bins, expected calibration error and temperature scaling (NumPy only).

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

_BLOCK = 1024  # photos per block: the logits of a whole split may not fit into memory as float64

# Beyond these bounds the probabilities are practically uniform or one-hot; a fit that ends at a bound found no optimum inside.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.01, 100.0


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions with a confidence above `low` and at most `high`.

    `confidence` is their mean confidence, `accuracy` the fraction that is correct; both are 0.0 for an empty bin.
    """

    low: float
    high: float
    num_examples: int
    confidence: float
    accuracy: float


def reliability(confidences: NDArray[Any], is_correct: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Sort predictions by confidence, (n,) in 0..1, into `NUM_BINS` bins of equal width. Their order does not matter."""
    edges = [index / NUM_BINS for index in range(NUM_BINS + 1)]
    confidences = confidences.astype(np.float64)
    bin_indices = np.digitize(confidences, edges[1:-1], right=True)
    bins = []
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        members = bin_indices == index
        count = int(members.sum())
        mean = math.fsum(confidences[members]) / count if count else 0.0
        accuracy = int(is_correct[members].sum()) / count if count else 0.0
        bins.append(ReliabilityBin(low, high, count, mean, accuracy))
    return tuple(bins)


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean absolute difference of confidence and accuracy over bins, weighted by their photos; in 0..1."""
    total = sum(bin_.num_examples for bin_ in bins)
    return math.fsum(bin_.num_examples * abs(bin_.accuracy - bin_.confidence) for bin_ in bins) / max(total, 1)


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the T in 0.01..100 that minimises the cross-entropy of softmax(logits / T).

    The loss is convex in 1 / T, so its minimum is the zero of an increasing derivative. It is found by Newton's method, with
    bisection for steps that leave the bracket. Returns 1.0 if no T changes the loss, and if every prediction is correct: the
    loss then keeps falling with T, which says nothing about the error rate.

    Args:
        logits: (n, K).
        labels: (n, K), rows of 0 and 1; rows without a label do not count, several labels share the target evenly.
    """
    counted = labels.any(axis=1)
    logits, labels = logits[counted], labels[counted] > 0
    largest = logits.max(axis=1, initial=-np.inf)
    is_correct = np.where(labels, logits, -np.inf).max(axis=1, initial=-np.inf) == largest
    if is_correct.all() or (logits == largest[:, None]).all():
        return 1.0
    target_mean = _mean_target(logits, labels)
    low, high = 1.0 / _MAX_TEMPERATURE, 1.0 / _MIN_TEMPERATURE
    if _moments(logits, low)[0] >= target_mean:
        return _MAX_TEMPERATURE
    if _moments(logits, high)[0] <= target_mean:
        return _MIN_TEMPERATURE
    inverse = 1.0
    for _ in range(100):
        mean, variance = _moments(logits, inverse)
        low, high = (inverse, high) if mean < target_mean else (low, inverse)
        newton = inverse - (mean - target_mean) / variance if variance > 0 else low
        updated = newton if low < newton < high else (low + high) / 2
        if abs(updated - inverse) <= 1e-12 * inverse:
            break
        inverse = updated
    return float(1.0 / inverse)


def _shifted(logits: NDArray[Any]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield the logits in blocks of photos, less each photo's largest, which does not change the softmax."""
    for start in range(0, len(logits), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = logits[rows].astype(np.float64)
        yield rows, block - block.max(axis=1, keepdims=True)


def _mean_target(logits: NDArray[Any], labels: NDArray[np.bool_]) -> float:
    """Return the mean, over photos, of the mean logit of a photo's labels."""
    targets = [(block * labels[rows]).sum(axis=1) / labels[rows].sum(axis=1) for rows, block in _shifted(logits)]
    return math.fsum(np.concatenate(targets)) / len(logits)


def _moments(logits: NDArray[Any], inverse: float) -> tuple[float, float]:
    """Return the mean and the variance of a photo's logits under softmax(logits * inverse), averaged over photos."""
    means, variances = [], []
    for _, block in _shifted(logits):
        weights = softmax(block * inverse)
        mean = (weights * block).sum(axis=1)
        means.append(mean)
        variances.append((weights * (block - mean[:, None]) ** 2).sum(axis=1))
    return math.fsum(np.concatenate(means)) / len(logits), math.fsum(np.concatenate(variances)) / len(logits)
