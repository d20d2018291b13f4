"""The eager backend: plain PyTorch, for any checkpoint on any device, in micro-batches (micro_batches.py)."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, load_checkpoint
from allmlp.errors import ConfigError
from allmlp.exports import export_kind
from allmlp.hardware.devices import choose_device
from allmlp.inference.backends.micro_batches import in_micro_batches, num_outputs
from allmlp.inference.runnable import Output, RunnableModel
from allmlp.metrics import Forward

__all__ = ["eager_forward", "open_eager", "recognises"]


def recognises(source: str | Path | Checkpoint) -> bool:
    """Return True for every path, name or checkpoint but exports: `load_checkpoint` reports what it cannot read."""
    return isinstance(source, str | os.PathLike | Checkpoint) and export_kind(source) is None


def open_eager(source: str | Path | Checkpoint, device: str, precision: str, output: Output) -> RunnableModel:
    """Load a source unless it is a `Checkpoint` already, and make it runnable; `precision` "auto" means float32.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: an unavailable device, or an unknown precision.
    """
    checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    chosen = cast("Literal['float32', 'bfloat16']", "float32" if precision == "auto" else precision)
    network = _headless(checkpoint) if output == "features" else checkpoint
    return RunnableModel(eager_forward(network, device=device, precision=chosen), checkpoint.description, output)


def _headless(checkpoint: Checkpoint) -> Checkpoint:
    return checkpoint.replace(
        config=replace(checkpoint.config, num_classes=0),
        weights={name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")},
        class_names=(),
    )


def eager_forward(
    checkpoint: Checkpoint, *, device: str = "auto", precision: Literal["float32", "bfloat16"] = "float32"
) -> Forward:
    """Return a `Forward` that runs the Mixer in eager PyTorch.

    It takes float32 (B, 3, H, W) for any B, including 0, and returns float32 (B, K). The logits of an image do not depend on
    the rest of its batch (micro_batches.py).

    Args:
        checkpoint: the Mixer to run; its weights are copied to the device.
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the matrix products; "bfloat16" keeps the weights and the norms in float32 (torch.autocast).

    Raises:
        ConfigError: an unavailable device, or an unknown precision.
    """
    import torch

    if precision not in ("float32", "bfloat16"):
        raise ConfigError(f"precision is {precision!r}; expected 'float32' or 'bfloat16'.")
    device = choose_device(device)
    model = checkpoint.build().to(device).eval()
    sample_shape = (3, *checkpoint.config.image_size)

    def compute(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        # Allocated by torch, so that its memory is aligned: the results of matrix kernels may depend on alignment, too.
        padded = torch.zeros(size, *sample_shape)
        padded.numpy()[: len(images)] = images
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits: NDArray[np.float32] = model(padded.to(device)).float().cpu().numpy()
        return logits[: len(images)]

    config = checkpoint.config
    return in_micro_batches(compute, config, device=device, width=num_outputs(config, "logits"))
