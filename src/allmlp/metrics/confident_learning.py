"""Confident learning: which labels are probably wrong, by the predictions of models that did not train on them."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["likely_label_errors", "normalized_margins"]

_ROUNDING = 1e-6  # so that a probability equal to a threshold reaches it, whatever the order of a sum


def likely_label_errors(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of photos whose label is probably wrong, the most probable first.

    A model is confident of a class if its probability reaches the mean probability of that class over the photos that are
    labelled with it: classes that are hard to tell apart have lower thresholds. A photo's label is probably wrong if the
    likeliest class of which the model is confident is another one, and the label is not its prediction either.
    The order is that of `normalized_margins`; ties keep the order of the photos.

    Source: C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident learning", 2021, section 3.1.

    Args:
        probabilities: (n, K), of models that did not train on these photos.
        labels: (n,), in 0..K-1.
    """
    rows = np.arange(len(labels))
    self_confidence = probabilities[rows, labels]
    num_photos = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, weights=self_confidence, minlength=probabilities.shape[1])
    thresholds = np.where(num_photos > 0, sums / np.maximum(num_photos, 1), np.inf)
    is_confident = probabilities >= thresholds - _ROUNDING
    guesses = np.where(is_confident, probabilities, -1.0).argmax(axis=1)
    is_suspect = is_confident.any(axis=1) & (guesses != labels) & (probabilities.argmax(axis=1) != labels)
    suspects = np.flatnonzero(is_suspect)
    margins = normalized_margins(probabilities[suspects], labels[suspects])
    return suspects[np.argsort(margins, kind="stable")]


def normalized_margins(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability of each label minus the largest other one, (n,), in -1..1; negative if another class wins."""
    rows = np.arange(len(labels))
    rivals = probabilities.copy()
    rivals[rows, labels] = -1.0
    margins: NDArray[np.float64] = probabilities[rows, labels] - rivals.max(axis=1)
    return margins
