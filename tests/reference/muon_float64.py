"""torch's own Muon in float64: the oracle of what computes in another precision."""

import contextlib
from unittest import mock

import torch

__all__ = ["in_float64"]


def in_float64() -> contextlib.AbstractContextManager[object]:
    """Let torch's Muon orthogonalise in float64: it asks for bfloat16 by this method of a tensor."""
    return mock.patch.object(torch.Tensor, "bfloat16", lambda self: self.to(torch.float64, copy=True))
