"""The two losses of the field, for labels that are mixed or smoothed."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["balanced_class_weights", "classification_loss"]


def classification_loss(
    logits: Tensor, labels: Tensor, kind: Literal["softmax", "sigmoid"], *, class_weights: Tensor | None = None
) -> Tensor:
    """Return the mean over the batch of the cross-entropy of logits (B, K) with label rows (B, K) in [0, 1].

    "softmax" sums over classes -label × log softmax; "sigmoid" sums the K binary cross-entropies, as the authors' later
    recipe does (big_vision, configs/mlp_mixer_i1k.py).

    With `class_weights` (K,), a label's share of class k counts w_k of the loss that a photo of class k alone would have. So a
    hard label's whole loss is multiplied by its class's weight, under "sigmoid" as under "softmax", and a mixed photo's loss
    is the mix of its photos' losses. The sum is divided by B, not by the batch's weights: weights whose mean over all photos
    is 1 then change nothing in the mean, and a photo counts alike in every batch, part of a batch and process. It is what
    torch's cross_entropy does for rows of probabilities; for class numbers it divides by the batch's weights.
    """
    if class_weights is not None:
        return _weighted(logits.float(), labels * class_weights, kind)
    if kind == "softmax":
        return F.cross_entropy(logits.float(), labels)
    return F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="sum") / len(logits)


def _weighted(logits: Tensor, labels: Tensor, kind: Literal["softmax", "sigmoid"]) -> Tensor:
    if kind == "softmax":
        return F.cross_entropy(logits, labels)
    # Each class's own loss is sum_j softplus(x_j) - x_k; the shares, weights in them, add these up.
    totals = F.softplus(logits).sum(dim=1) * labels.sum(dim=1) - (labels * logits).sum(dim=1)
    return totals.mean()


def balanced_class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return n / (K n_k) for each class, (num_classes,) float32, from the classes of n samples, (n,).

    K counts the classes that there are samples of; the others' weight is 0. The mean over all samples is 1.
    """
    counts = torch.bincount(labels, minlength=num_classes).double()
    weights = len(labels) / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0.0).float()
