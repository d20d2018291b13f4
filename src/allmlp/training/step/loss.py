"""Softmax and sigmoid cross-entropy for soft labels, optionally with class weights."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["balanced_class_weights", "classification_loss"]


def classification_loss(
    logits: Tensor, labels: Tensor, kind: Literal["softmax", "sigmoid"], *, class_weights: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of logits (B, K) with label rows (B, K) in [0, 1], averaged over the batch.

    "softmax" sums -label × log softmax over the classes; "sigmoid" sums the K binary cross-entropies, as the authors' later
    recipe does (big_vision, configs/mlp_mixer_i1k.py).

    With `class_weights` w (K,), a label's share of class k contributes that share times w_k times the loss of an image of
    class k. Thus the whole loss of a hard label is multiplied by the weight of its class, for "sigmoid" as for "softmax", and
    the loss of a mixed image is the mix of the losses of its parts. The sum is divided by B, not by the sum of the weights in
    the batch: then weights with mean 1 over all photos leave the scale of the loss unchanged, and a photo has the same
    weight in every batch, part of a batch and process. torch's cross_entropy does the same for class probabilities; for class
    indices it divides by the sum of the weights.
    """
    if class_weights is not None:
        return _weighted(logits.float(), labels * class_weights, kind)
    if kind == "softmax":
        return F.cross_entropy(logits.float(), labels)
    return F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="sum") / len(logits)


def _weighted(logits: Tensor, labels: Tensor, kind: Literal["softmax", "sigmoid"]) -> Tensor:
    if kind == "softmax":
        return F.cross_entropy(logits, labels)
    # The loss of a hard label of class k is sum_j softplus(x_j) - x_k; the weighted labels are the coefficients of a sum.
    totals = F.softplus(logits).sum(dim=1) * labels.sum(dim=1) - (labels * logits).sum(dim=1)
    return totals.mean()


def balanced_class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return the weight n / (K n_k) of each class, (num_classes,) float32, from the class indices (n,) of n samples.

    K is the number of classes that have samples; a class without samples has weight 0. The mean over all samples is 1.
    """
    counts = torch.bincount(labels, minlength=num_classes).double()
    weights = len(labels) / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0.0).float()
