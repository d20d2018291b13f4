"""Nearest photos by their features."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest"]


def nearest(features: NDArray[np.float32], query: NDArray[np.float32], *, top_k: int = 10) -> list[tuple[int, float]]:
    """Return (index, similarity) of the rows of `features` (n, C) that are most similar to `query` (C,), best first.

    The similarity is the cosine of the angle between the two, from -1 to 1; 0 for a row of zeros. Of equal rows, the first
    comes first. All n if there are fewer than `top_k`.
    """
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(query)
    products = (features @ query).astype(np.float64)
    similarities = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    best = np.argsort(-similarities, kind="stable")[:top_k]
    return [(int(index), float(similarities[index])) for index in best]
