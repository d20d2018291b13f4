"""Recognising photos of none of the classes: scores of features and logits, thresholds, and how well scores separate.

Sources: Liu, Wang, Owens, Li, "Energy-based out-of-distribution detection", NeurIPS 2020, arXiv 2010.03759 (the sign is turned,
so that known photos score high); Hendrycks, Gimpel, "A baseline for detecting misclassified and out-of-distribution examples in
neural networks", ICLR 2017, arXiv 1610.02136 (the largest probability); Tipping, Bishop, "Probabilistic principal component
analysis", Journal of the Royal Statistical Society B 61, 1999 (the distance of features).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.metrics.softmax import softmax

__all__ = [
    "KNOWN_SCORES",
    "auroc",
    "closeness",
    "energy",
    "first_of_copies",
    "fit_closeness",
    "fit_threshold",
    "held_out_closeness",
]

_RANK = 8
_NUM_FOLDS = 5
_COPY_DISTANCE = 1e-5  # of the length of features: engines differ by about a tenth of it


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


def first_of_copies(features: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each of n features (n, C) whether it is the first of those that are equal but for rounding.

    Copies of a photo look as if new photos were as close to the others as copies are, and a distribution of nothing but copies
    has no width: every other photo would be far from it.
    """
    values = features.astype(np.float64)
    direction = np.random.default_rng(0).normal(size=values.shape[1])
    order = np.argsort(values @ direction, kind="stable")  # so that copies are neighbours
    gaps = np.linalg.norm(np.diff(values[order], axis=0), axis=1)
    is_new = np.append(True, gaps > _COPY_DISTANCE * np.linalg.norm(values[order[1:]], axis=1))[: len(values)]
    first = np.zeros(len(values), np.bool_)
    if len(values):
        first[np.minimum.reduceat(order, np.flatnonzero(is_new))] = True
    return first


def fit_closeness(features: NDArray[Any]) -> NDArray[np.float32]:
    """Return the statistics of features (n, C) of photos of the classes, with which `closeness` scores other photos.

    They are a normal distribution with the variances of the 8 main directions (fewer for under 33 photos), and one for all
    others: (1 + r, C + 1) float32. The first row is the mean, and that one variance; the others are each a direction and its
    variance. n is at least 5.
    """
    values = features.astype(np.float64)
    mean = values.mean(axis=0)
    _, scales, directions = np.linalg.svd(values - mean, full_matrices=False)
    rank = max(1, min(_RANK, len(values) // 4, values.shape[1] - 1))
    variances = scales**2 / len(values)
    rest = max(variances[rank:].sum() / max(values.shape[1] - rank, 1), np.finfo(np.float32).tiny)
    first = np.append(mean, rest)[None]
    others = np.column_stack([directions[:rank], np.maximum(variances[:rank], rest)])
    return np.concatenate([first, others]).astype(np.float32)


def closeness(features: NDArray[Any], statistics: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return minus the squared Mahalanobis distance of features (..., C), float64 (...): high for photos of known classes."""
    matrix = statistics.astype(np.float64)
    mean, rest = matrix[0, :-1], matrix[0, -1]
    directions, variances = matrix[1:, :-1], matrix[1:, -1]
    offsets = features.astype(np.float64) - mean
    along = offsets @ directions.T
    beyond = np.maximum((offsets**2).sum(axis=-1) - (along**2).sum(axis=-1), 0)
    scores: NDArray[np.float64] = -((along**2 / variances).sum(axis=-1) + beyond / rest)
    return scores


def held_out_closeness(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return the closeness (n,) of each photo by the statistics of the other four fifths, as that of a new photo would be."""
    fold = np.arange(len(features)) % _NUM_FOLDS
    scores = np.empty(len(features))
    for number in range(_NUM_FOLDS):
        scores[fold == number] = closeness(features[fold == number], fit_closeness(features[fold != number]))
    return scores


def fit_threshold(scores: NDArray[np.float64], *, kept: float) -> float:
    """Return the highest of the scores (n,) that another score of their kind reaches with probability `kept` at least.

    It is the k-th lowest one, which a new score misses with probability k / (n + 1): the fifth of 100 for 0.95. With too few
    scores for that, it is the lowest; n is at least 1.
    """
    rank = math.floor((1 - kept) * (len(scores) + 1) + 1e-9)
    return float(np.sort(scores)[max(rank, 1) - 1])


def auroc(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> float:
    """Return the probability that a known photo scores higher than an unknown one; ties count half. At least one of each."""
    order = np.sort(unknown)
    below = np.searchsorted(order, known, side="left") + np.searchsorted(order, known, side="right")
    return float(below.sum() / (2 * len(known) * len(unknown)))
