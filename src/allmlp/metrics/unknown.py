"""Recognising photos of none of the classes: a score of features, thresholds, and how well scores separate.

Source: Tipping, Bishop, "Probabilistic principal component analysis", Journal of the Royal Statistical Society B 61, 1999.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "auroc",
    "closeness",
    "first_of_copies",
    "fit_closeness",
    "fit_threshold",
    "held_out_closeness",
]

_RANK = 8
_NUM_FOLDS = 5
_COPY_DISTANCE = 1e-5  # of the length of features: engines differ by about a tenth of it


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
    axes = np.column_stack([directions[:rank], np.maximum(variances[:rank], rest)])
    return np.concatenate([first, axes]).astype(np.float32)


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
