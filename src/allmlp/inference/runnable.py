"""Runnable models: a forward and the description of its model."""

from dataclasses import dataclass
from typing import Literal

from allmlp.checkpoints import ModelDescription
from allmlp.metrics import Forward

__all__ = ["Output", "RunnableModel"]

Output = Literal["logits", "features"]


@dataclass(frozen=True)
class RunnableModel:
    """A model that is ready for inference.

    Attributes:
        forward: from pre-processed images, float32 (B, 3, H, W), to logits (B, K), or to features (B, C).
        description: the model's configuration, pre-processing, class names and temperature.
        output: what `forward` returns.
    """

    forward: Forward
    description: ModelDescription
    output: Output = "logits"
