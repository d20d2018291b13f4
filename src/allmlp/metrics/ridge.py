"""Ridge regression for many penalties at once, from a single eigendecomposition, in float64 (NumPy only).

n training examples and m others, d features, K classes, r = d if n >= d, else n - 1. Let A be the features, centred and
scaled by the training examples, with a constant last column, and Y the targets (n, K). The weights for a penalty l are

    W(l) = (A^T A + l I)^-1 A^T Y    if n >= d,    W(l) = A^T (A A^T + l I)^-1 Y    if n < d.

In the basis of the eigenvectors of A^T A (or A A^T), the inverse is a division by eigenvalues + l. Because the features are
centred, the constant column is orthogonal to them and an eigenvector of its own, so only the features are decomposed.
Standardisation, and the constant column with its value, follow the authors' evaluator (google-research/big_vision,
evaluators/fewshot_lsr.py); the value is large so that the penalty hardly affects the bias.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BIAS_CONSTANT", "Ridge", "decompose"]

BIAS_CONSTANT = 100.0
_STD_OFFSET = 1e-5  # added to every standard deviation, as by the authors: a feature may be constant

_BLOCK = 2048  # rows per block, so that 50,000 x 768 features are never in memory as float64
_MAX_COLUMNS = 1024  # of one matrix product: penalties times classes


@dataclass(frozen=True, eq=False)
class Ridge:
    """A decomposed training set.

    For a penalty l, the scores of features x are ((x - mean) / std) @ directions @ (targets / (eigenvalues + l)), plus the
    contribution of the constant column.

    Attributes:
        mean, std: (d,), of the training features.
        directions: (d, r).
        targets: (r, K), the training targets in the basis of the eigenvectors.
        eigenvalues: (r,), not negative.
        mean_target: (K,).
        vectors: (n, r), the eigenvectors of A A^T if that was decomposed; None if A^T A was.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    directions: NDArray[np.float64]
    targets: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    mean_target: NDArray[np.float64]
    num_examples: int
    vectors: NDArray[np.float64] | None

    def scores(
        self, features: NDArray[Any], penalties: NDArray[np.float64]
    ) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
        """Yield the scores of features (m, d) in blocks: the rows, the penalties, and their scores (penalties, rows, K)."""
        for rows, projected in self._projected(features):
            for group in self._groups(penalties):
                yield rows, group, self._scores(projected, penalties[group])

    def scores_left_out(
        self, features: NDArray[Any], targets: NDArray[np.float64], penalties: NDArray[np.float64]
    ) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
        """Yield the leave-one-out scores of the training features (n, d), in blocks like those of `scores`.

        The leave-one-out score of an example with leverage h and residual e is its target - e / (1 - h). This is exact for a
        fixed design: mean and standard deviation remain those of all examples, which do not depend on labels.
        """
        blocks = self._projected(features) if self.vectors is None else self._own_projections()
        for rows, projected in blocks:
            squares = projected**2
            for group in self._groups(penalties):
                residual, complement = self._residual(projected, squares, targets[rows], penalties[group])
                yield rows, group, targets[rows] - residual / complement[:, :, None]

    def _groups(self, penalties: NDArray[np.float64]) -> Iterator[slice]:
        # One wide matrix product for several penalties is several times as fast as one narrow product per penalty.
        size = max(1, _MAX_COLUMNS // len(self.mean_target))
        for start in range(0, len(penalties), size):
            yield slice(start, min(start + size, len(penalties)))

    def _scores(self, projected: NDArray[np.float64], penalties: NDArray[np.float64]) -> NDArray[np.float64]:
        fitted = _product(projected, self.targets / (self.eigenvalues + penalties[:, None])[:, :, None])
        return fitted + np.multiply.outer(1.0 - self._bias_shrinkage(penalties), self.mean_target)[:, None, :]

    def _bias_shrinkage(self, penalties: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fraction by which each penalty shrinks the bias."""
        return penalties / (BIAS_CONSTANT**2 * self.num_examples + penalties)

    def _residual(
        self,
        projected: NDArray[np.float64],
        squares: NDArray[np.float64],
        targets: NDArray[np.float64],
        penalties: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return target - score of training examples, (penalties, rows, K), and 1 - their leverage, (penalties, rows)."""
        inverse = 1.0 / (self.eigenvalues + penalties[:, None])  # (penalties, r)
        bias_shrinkage = self._bias_shrinkage(penalties)[:, None]
        if self.vectors is None:
            leverage = inverse @ squares.T + (1.0 - bias_shrinkage) / self.num_examples
            return targets - self._scores(projected, penalties), 1.0 - leverage
        # Both as sums over the eigenvectors, without subtraction: no cancellation where examples are fitted almost exactly.
        shrinkage = penalties[:, None] * inverse
        residual = _product(projected, shrinkage[:, :, None] * self.targets)
        residual += (bias_shrinkage * self.mean_target)[:, None, :]
        return residual, shrinkage @ squares.T + bias_shrinkage / self.num_examples

    def _projected(self, features: NDArray[Any]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        for rows, block in _standardised(features, self.mean, self.std):
            yield rows, block @ self.directions

    def _own_projections(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        assert self.vectors is not None
        yield slice(0, self.num_examples), self.vectors


def decompose(features: NDArray[Any], targets: NDArray[np.float64]) -> Ridge:
    """Decompose training features (n, d) with targets (n, K); the matrix is d x d, or n x n if that is smaller."""
    mean = features.mean(axis=0, dtype=np.float64)
    std = _std(features, mean) + _STD_OFFSET
    decompose_smaller = _primal if features.shape[0] >= features.shape[1] else _dual
    directions, projected_targets, eigenvalues, vectors = decompose_smaller(features, targets, mean, std)
    return Ridge(
        mean=mean,
        std=std,
        directions=directions,
        targets=projected_targets,
        eigenvalues=np.maximum(eigenvalues, 0.0),  # rounding can make zeros negative
        mean_target=targets.mean(axis=0),
        num_examples=len(features),
        vectors=vectors,
    )


def _product(projected: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return projected (rows, r) @ weights (penalties, r, K) as (penalties, rows, K), computed as one product."""
    num_penalties, _, num_classes = weights.shape
    wide = projected @ weights.transpose(1, 0, 2).reshape(len(weights[0]), num_penalties * num_classes)
    return wide.reshape(len(projected), num_penalties, num_classes).transpose(1, 0, 2)


_Parts = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]


def _primal(
    features: NDArray[Any], targets: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> _Parts:
    num_features = features.shape[1]
    squares, products = np.zeros((num_features, num_features)), np.zeros((num_features, targets.shape[1]))
    for rows, block in _standardised(features, mean, std):
        squares += block.T @ block
        products += block.T @ targets[rows]
    eigenvalues, vectors = np.linalg.eigh(squares)
    return vectors, vectors.T @ products, eigenvalues, None


def _dual(
    features: NDArray[Any], targets: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> _Parts:
    standardised = (features - mean) / std  # (n, d) with n < d: small
    products = standardised @ standardised.T
    # Because the features are centred, the vector of ones is an eigenvector of eigenvalue 0. Lifting its eigenvalue above all
    # others puts it last, and it is dropped: the remaining eigenvectors span its orthogonal complement.
    lift = 2.0 * np.trace(products) + 1.0
    eigenvalues, vectors = np.linalg.eigh(products + lift / len(products))
    vectors = np.ascontiguousarray(vectors[:, :-1])
    return standardised.T @ vectors, vectors.T @ targets, eigenvalues[:-1], vectors


def _standardised(
    features: NDArray[Any], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    for start in range(0, len(features), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(features)))
        block = features[rows].astype(np.float64)
        block -= mean
        block /= std
        yield rows, block


def _std(features: NDArray[Any], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = np.zeros(features.shape[1])
    for _, block in _standardised(features, mean, np.ones_like(mean)):
        squares += (block**2).sum(axis=0)
    return np.sqrt(squares / len(features))
