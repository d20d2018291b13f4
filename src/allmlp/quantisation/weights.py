"""Matrices rounded to integers, so that the outputs of the layer change least for the inputs that it gets."""

import numpy as np
from numpy.typing import NDArray

from allmlp.exports import QuantisedWeight, is_token_mixing

__all__ = ["equal_ranges", "quantise"]

# Of the mean square of the inputs, added to each, as in the source: it bounds the corrections where inputs are rare.
_DAMPING = 0.01
_BLOCK = 128  # rows whose corrections of later rows are applied in one matrix product


def quantise(weight: NDArray[np.float32], limit: int, moments: NDArray[np.float32] | None = None) -> QuantisedWeight:
    """Round a matrix (inputs, outputs) to integers of at most `limit`, with one scale for each output.

    With the second moments of the inputs, row after row is rounded, and the error of each row is made up for by the rows that
    are still to be rounded. Without them, each value is rounded to the nearest.

    Args:
        weight: float32 (inputs, outputs).
        limit: the largest absolute integer.
        moments: the mean of x xᵀ over inputs x, float32 (inputs, inputs).

    Source: Frantar et al., GPTQ, arXiv:2210.17323, algorithm 1, with scales that stay fixed.
    """
    largest = np.abs(weight).max(axis=0)
    scales = np.where(largest > 0, largest / limit, 1).astype(np.float32)
    if moments is None or not moments.any():
        return QuantisedWeight(_rounded(weight / scales, limit), scales)
    rest = weight.astype(np.float64) / scales  # in units of the scale, so that rounding is to integers
    integers = np.empty(weight.shape, np.int8)
    factor = _inverse_factor(moments)
    for start in range(0, len(rest), _BLOCK):
        stop = min(start + _BLOCK, len(rest))
        errors = np.empty((stop - start, rest.shape[1]))
        for row in range(start, stop):
            integers[row] = _rounded(rest[row], limit)
            errors[row - start] = (rest[row] - integers[row]) / factor[row, row]
            rest[row + 1 : stop] -= np.outer(factor[row, row + 1 : stop], errors[row - start])
        rest[stop:] -= factor[start:stop, stop:].T @ errors
    return QuantisedWeight(integers, scales)


def equal_ranges(layer: str, low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the divisors (C,) that bring the channels of a layer's input nearer to one range: `Quantisation.divisors`.

    In token mixing they undo themselves after the product, so that all channels may have the same range. In channel mixing the
    weights take them over, whose rounding must not suffer: the square root makes ranges of inputs and of weights alike.

    Source: Xiao et al., SmoothQuant, arXiv:2211.10438, equation 4 with α = 0.5, without the weights' own range.
    """
    largest = np.maximum(np.abs(low), np.abs(high))
    largest = np.maximum(largest, max(1e-3 * float(largest.max()), 1e-6))
    divisors = largest if is_token_mixing(layer) else np.sqrt(largest / largest.max())
    return divisors.astype(np.float32)


def _rounded(values: NDArray[np.floating], limit: int) -> NDArray[np.int8]:
    rounded: NDArray[np.int8] = np.clip(np.rint(values), -limit, limit).astype(np.int8)
    return rounded


def _inverse_factor(moments: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the upper triangular U with Uᵀ U = (moments + damping)⁻¹."""
    matrix = moments.astype(np.float64)
    matrix[np.diag_indices_from(matrix)] += _DAMPING * np.trace(matrix) / len(matrix)
    factor: NDArray[np.float64] = np.linalg.cholesky(np.linalg.inv(matrix)).T
    return factor
