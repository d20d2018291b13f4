"""Least squares with an L2 penalty for many penalties at once: one decomposition, in float64 (NumPy only).

n training examples and m others, d features, K classes, r = min(n, d) or one less. With A the features, centred and scaled by
the training examples, and a last column that is constant, and Y the targets (n, K), the weights for a penalty l are

    W(l) = (A^T A + l I)^-1 A^T Y        for n >= d       = A^T (A A^T + l I)^-1 Y        for n < d

and with the eigenvectors of A^T A, or of A A^T, the inverse is a division by eigenvalues + l. The features are centred, so the
constant column stands at right angles to them: it is an eigenvector by itself, and the decomposition is of the features alone.
Standardising, the constant and its size are those of the authors' evaluator (google-research/big_vision,
evaluators/fewshot_lsr.py), where it is large so that the penalty hardly touches the bias.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BIAS_CONSTANT", "Ridge", "decompose"]

BIAS_CONSTANT = 100.0
_LEAST_STD = 1e-5  # added to every standard deviation, as the authors do: a feature may be the same for all

# Rows that are worked on at a time: 50,000 x 768 features are never in memory as float64.
_BLOCK = 2048
_COLUMNS = 1024  # of one product, classes times penalties


@dataclass(frozen=True, eq=False)
class Ridge:
    """A training set, decomposed. For a penalty l the scores of features x are ((x - mean) / std) @ directions @
    (targets / (eigenvalues + l)), and the constant's part.

    mean, std: (d,), of the training features.
    directions: (d, r).
    targets: (r, K), the training targets along the eigenvectors.
    eigenvalues: (r,), not negative.
    mean_target: (K,).
    vectors: (n, r), the eigenvectors of A A^T, when that was decomposed; None when A^T A was.
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
        """Yield the scores of features (m, d) in blocks: which rows, which penalties, and (penalties, rows, K)."""
        for rows, projected in self._projected(features):
            for group in self._groups(penalties):
                yield rows, group, self._scores(projected, penalties[group])

    def scores_left_out(
        self, features: NDArray[Any], targets: NDArray[np.float64], penalties: NDArray[np.float64]
    ) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
        """Yield like `scores`, of the training features (n, d) themselves, what each would score had it been left out.

        With the leverage h of an example and its residual e, that is its target - e / (1 - h): exact for a design that
        stays. Mean and standard deviation stay those of all examples; they are made without labels.
        """
        blocks = self._projected(features) if self.vectors is None else self._kept()
        for rows, projected in blocks:
            squares = projected**2
            for group in self._groups(penalties):
                residual, rest = self._residual(projected, squares, targets[rows], penalties[group])
                yield rows, group, targets[rows] - residual / rest[:, :, None]

    def _groups(self, penalties: NDArray[np.float64]) -> Iterator[slice]:
        # Penalties side by side make one wide product of many narrow ones, which take several times as long.
        size = max(1, _COLUMNS // len(self.mean_target))
        for start in range(0, len(penalties), size):
            yield slice(start, min(start + size, len(penalties)))

    def _scores(self, projected: NDArray[np.float64], penalties: NDArray[np.float64]) -> NDArray[np.float64]:
        fitted = _product(projected, self.targets / (self.eigenvalues + penalties[:, None])[:, :, None])
        return fitted + np.multiply.outer(1.0 - self._bias_loss(penalties), self.mean_target)[:, None, :]

    def _bias_loss(self, penalties: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share that each penalty takes off the bias; 0 were it not penalised."""
        return penalties / (BIAS_CONSTANT**2 * self.num_examples + penalties)

    def _residual(
        self,
        projected: NDArray[np.float64],
        squares: NDArray[np.float64],
        targets: NDArray[np.float64],
        penalties: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return target - score of training examples, (penalties, rows, K), and one less their leverage, (penalties, rows)."""
        inverse = 1.0 / (self.eigenvalues + penalties[:, None])  # (penalties, r)
        lost = self._bias_loss(penalties)[:, None]
        if self.vectors is None:
            leverage = inverse @ squares.T + (1.0 - lost) / self.num_examples
            return targets - self._scores(projected, penalties), 1.0 - leverage
        # Both come out as sums along all eigenvectors: no difference of near numbers where examples are fitted exactly.
        shares = penalties[:, None] * inverse
        residual = _product(projected, shares[:, :, None] * self.targets) + (lost * self.mean_target)[:, None, :]
        return residual, shares @ squares.T + lost / self.num_examples

    def _projected(self, features: NDArray[Any]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        for rows, block in _standardised(features, self.mean, self.std):
            yield rows, block @ self.directions

    def _kept(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        assert self.vectors is not None
        yield slice(0, self.num_examples), self.vectors


def decompose(features: NDArray[Any], targets: NDArray[np.float64]) -> Ridge:
    """Decompose training features (n, d) with targets (n, K): d x d, or n x n where that is smaller."""
    mean = features.mean(axis=0, dtype=np.float64)
    std = _std(features, mean) + _LEAST_STD
    decompose_smaller = _primal if features.shape[0] >= features.shape[1] else _dual
    directions, along, eigenvalues, vectors = decompose_smaller(features, targets, mean, std)
    return Ridge(
        mean=mean,
        std=std,
        directions=directions,
        targets=along,
        eigenvalues=np.maximum(eigenvalues, 0.0),  # rounding makes zeros negative
        mean_target=targets.mean(axis=0),
        num_examples=len(features),
        vectors=vectors,
    )


def _product(projected: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return projected (rows, r) @ weights (penalties, r, K), (penalties, rows, K), as one product."""
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
    whole = (features - mean) / std  # (n, d) with n < d: small
    products = whole @ whole.T
    # The ones are an eigenvector, of eigenvalue 0 as the features are centred. Lifted above all others it comes out last and
    # by itself, and is left out: what remains spans the rest.
    lift = 2.0 * np.trace(products) + 1.0
    eigenvalues, vectors = np.linalg.eigh(products + lift / len(products))
    vectors = np.ascontiguousarray(vectors[:, :-1])
    return whole.T @ vectors, vectors.T @ targets, eigenvalues[:-1], vectors


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
