"""MLP-Mixer in NumPy float64, written from the paper (section 2, equation 1) alone: an oracle, slow and plain.

It loops where the equation has an index, so that it shares no reshape or transpose with the package.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Gelu = Literal["tanh", "erf"]

EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class Norm:
    scale: Array  # (C,)
    bias: Array  # (C,)

    def __call__(self, table: Array) -> Array:  # (S, C) -> (S, C), each row by itself
        result = np.empty_like(table)
        for j, row in enumerate(table):
            deviation = row - row.mean()
            result[j] = deviation / math.sqrt((deviation**2).mean() + EPSILON) * self.scale + self.bias
        return result


@dataclass(frozen=True, kw_only=True)
class Layer:
    token_norm: Norm
    W1: Array  # (D_S, S)
    b1: Array
    W2: Array  # (S, D_S)
    b2: Array
    channel_norm: Norm
    W3: Array  # (D_C, C)
    b3: Array
    W4: Array  # (C, D_C)
    b4: Array


@dataclass(frozen=True, kw_only=True)
class Weights:
    projection: Array  # (C, 3, P, P)
    projection_bias: Array  # (C,)
    layers: tuple[Layer, ...]
    pre_head_norm: Norm
    classifier: Array  # (K, C)
    classifier_bias: Array  # (K,)


class Outputs(NamedTuple):
    stem: Array  # (S, C)
    layers: list[Array]  # N times (S, C)
    pre_head: Array  # (S, C)
    features: Array  # (C,)
    logits: Array  # (K,)


def mixer(image: Array, weights: Weights, gelu: Gelu) -> Outputs:
    """Return what a Mixer computes of one image (3, H, W)."""
    X = stem = project_patches(image, weights)
    tables = []
    for layer in weights.layers:
        X = apply_layer(X, layer, gelu)
        tables.append(X)
    pre_head = weights.pre_head_norm(X)
    features = pre_head.mean(axis=0)
    return Outputs(stem, tables, pre_head, features, weights.classifier @ features + weights.classifier_bias)


def project_patches(image: Array, weights: Weights) -> Array:
    P = weights.projection.shape[-1]
    rows = []
    for top in range(0, image.shape[1], P):
        for left in range(0, image.shape[2], P):
            patch = image[:, top : top + P, left : left + P]
            rows.append([(kernel * patch).sum() for kernel in weights.projection] + weights.projection_bias)
    return np.array(rows)


def apply_layer(table: Array, layer: Layer, gelu: Gelu) -> Array:
    X = table
    normalised, U = layer.token_norm(X), np.empty_like(X)
    for i in range(X.shape[1]):
        U[:, i] = X[:, i] + layer.W2 @ GELUS[gelu](layer.W1 @ normalised[:, i] + layer.b1) + layer.b2
    normalised, Y = layer.channel_norm(U), np.empty_like(U)
    for j in range(U.shape[0]):
        Y[j, :] = U[j, :] + layer.W4 @ GELUS[gelu](layer.W3 @ normalised[j, :] + layer.b3) + layer.b4
    return Y


def gelu_erf(x: Array) -> Array:
    """x Φ(x), Φ the standard normal's distribution function."""
    return np.array([value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])


def gelu_tanh(x: Array) -> Array:
    """The approximation of Hendrycks and Gimpel (arXiv 1606.08415, section 2)."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


GELUS = {"erf": gelu_erf, "tanh": gelu_tanh}
