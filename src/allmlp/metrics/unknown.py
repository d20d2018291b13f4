"""Recognising photos of none of the classes: scores of logits, thresholds, and how well scores separate (NumPy only).

Sources: Liu, Wang, Owens, Li, "Energy-based out-of-distribution detection", NeurIPS 2020, arXiv 2010.03759 (the sign is turned,
so that known photos score high); Hendrycks, Gimpel, "A baseline for detecting misclassified and out-of-distribution examples in
neural networks", ICLR 2017, arXiv 1610.02136 (the largest probability).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.metrics.softmax import softmax

__all__ = ["KNOWN_SCORES", "auroc", "energy", "fit_threshold", "largest_probability"]


def energy(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return log sum exp of logits (..., K) over the classes, float64 (...): high for photos of known classes."""
    largest = logits.max(axis=-1).astype(np.float64)
    total: NDArray[np.float64] = largest + np.log(np.exp(logits - largest[..., None]).sum(axis=-1))
    return total


def largest_probability(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the largest probability (...) of logits (..., K), float64, in 0..1."""
    largest: NDArray[np.float64] = softmax(logits).max(axis=-1)
    return largest


def largest_logit(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the largest logit (...) of logits (..., K), float64."""
    largest: NDArray[np.float64] = logits.max(axis=-1).astype(np.float64)
    return largest


KNOWN_SCORES: Mapping[str, Callable[[NDArray[Any]], NDArray[np.float64]]] = {
    "energy": energy,
    "probability": largest_probability,
    "logit": largest_logit,
}
"""By name: from logits (..., K) to a score (...) that is high for photos of known classes."""


def fit_threshold(scores: NDArray[np.float64], *, kept: float) -> float:
    """Return the highest threshold that at least the share `kept` of the scores (n,) reaches; n is at least 1.

    With a share of 0.95 and 100 scores it is the sixth lowest one: 95 reach it.
    """
    num_kept = max(1, math.ceil(kept * len(scores) - 1e-9))
    return float(np.sort(scores)[len(scores) - num_kept])


def auroc(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> float:
    """Return the probability that a known photo scores higher than an unknown one; ties count half. At least one of each."""
    order = np.sort(unknown)
    below = np.searchsorted(order, known, side="left") + np.searchsorted(order, known, side="right")
    return float(below.sum() / (2 * len(known) * len(unknown)))
