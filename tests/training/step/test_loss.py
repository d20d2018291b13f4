"""The losses, against torch's and against arithmetic."""

import math

import pytest
import torch
from torch import nn

from allmlp.training.step.loss import classification_loss


def test_softmax_loss_of_hard_labels_is_torchs_cross_entropy():
    logits, classes = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    rows = nn.functional.one_hot(classes, 4).float()
    assert torch.isclose(classification_loss(logits, rows, "softmax"), nn.functional.cross_entropy(logits, classes))


def test_sigmoid_loss_sums_over_classes_and_means_over_the_batch():
    logits, rows = torch.tensor([[1.0, -2.0], [0.5, 0.0]]), torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    by_hand = 0.0
    for row, target in zip(logits.tolist(), rows.tolist(), strict=True):
        for x, y in zip(row, target, strict=True):
            p = 1 / (1 + math.exp(-x))
            by_hand -= y * math.log(p) + (1 - y) * math.log(1 - p)
    assert float(classification_loss(logits, rows, "sigmoid")) == pytest.approx(by_hand / 2, rel=1e-6)
