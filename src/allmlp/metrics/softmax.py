"""Softmax and log-softmax in float64 (NumPy only)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_softmax", "softmax"]


def softmax(logits: NDArray[Any], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return softmax(logits / temperature) over the last axis, float64, in the shape of `logits`.

    The largest logit is subtracted first, so that no exponential overflows.
    """
    weights = np.exp(_shifted(logits) / temperature)
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return log(softmax(logits)) over the last axis, float64; finite even where the softmax rounds to 0."""
    shifted = _shifted(logits)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def _shifted(logits: NDArray[Any]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    return shifted
