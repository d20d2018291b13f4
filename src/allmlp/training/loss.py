"""The two losses of the field, for labels that are mixed or smoothed."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

__all__ = ["classification_loss"]


def classification_loss(logits: Tensor, labels: Tensor, kind: Literal["softmax", "sigmoid"]) -> Tensor:
    """Return the mean over the batch of the cross-entropy of logits (B, K) with label rows (B, K) in [0, 1].

    "softmax" sums over classes -label × log softmax; "sigmoid" sums the K binary cross-entropies, as the authors' later
    recipe does (big_vision, configs/mlp_mixer_i1k.py).
    """
    if kind == "softmax":
        return F.cross_entropy(logits.float(), labels)
    return F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="sum") / len(logits)
