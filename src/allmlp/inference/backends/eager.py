"""The eager backend: plain PyTorch, for any checkpoint on any device.

An image's logits must not depend on the rest of its batch, or scores would change with the batch size. But matrix libraries
choose a kernel by the shape of the product, and may use a different kernel for its last rows; either changes the order of
additions and thus the last bits. So every call computes micro-batches of a fixed size and pads the last one with zeros.
Whether all rows of a micro-batch get the same bits depends on the model's widths, the device and the number of threads, but
not on the images. So it is tested once; if the test fails on a CPU, images are computed one at a time. On a GPU the size
is kept, because computing images one at a time would cost most of its speed.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, load_checkpoint
from allmlp.errors import ConfigError
from allmlp.hardware.devices import choose_device
from allmlp.inference.runnable import Output, RunnableModel
from allmlp.metrics import Forward
from allmlp.model import MixerConfig, cost

__all__ = ["eager_forward", "open_eager", "recognises"]

# On a GPU, the default batch size of `evaluate`: fewer images leave the GPU idle, and with more every batch would be padded.
_LARGEST_MICRO_BATCH = {"cpu": 16, "cuda": 64, "mps": 16}
# A single image costs a whole micro-batch, so this bounds a micro-batch on a CPU: about 0.1 s on two cores. Large Mixers reach
# full speed with few images (B/16 has 12.6 GMACs and gets micro-batches of 1, S/32 of 4, Mixers under 0.25 GMACs of 16).
_MAX_CPU_MULTIPLY_ADDS = 4e9
# A micro-batch size is tried with at most this many random images (a single one may miss a difference: on small Mixers, one in
# nine showed it), and with at most this many multiply-adds, 0.02 s on two cores.
_MAX_TRIALS = 32
_MAX_TRIAL_MULTIPLY_ADDS = 1e9


def recognises(source: str | Path | Checkpoint) -> bool:
    """Return True for every path, name or checkpoint: `load_checkpoint` reports the sources that it cannot read."""
    return isinstance(source, str | os.PathLike | Checkpoint)


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
    the rest of its batch (see the module's docstring).

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
    num_outputs = checkpoint.config.num_classes or checkpoint.config.hidden_dim

    def compute(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        # Allocated by torch, so that its memory is aligned: the results of matrix kernels may depend on alignment, too.
        padded = torch.zeros(size, *sample_shape)
        padded.numpy()[: len(images)] = images
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits: NDArray[np.float32] = model(padded.to(device)).float().cpu().numpy()
        return logits[: len(images)]

    size = _micro_batch(compute, checkpoint.config, device)

    def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
        if images.shape[1:] != sample_shape:
            raise ValueError(
                f"images have shape {images.shape}; this Mixer takes (B, {', '.join(map(str, sample_shape))})."
            )
        logits = np.empty((len(images), num_outputs), dtype=np.float32)
        for start in range(0, len(images), size):
            logits[start : start + size] = compute(images[start : start + size], size)
        return logits

    return forward


def _micro_batch(
    compute: Callable[[NDArray[np.float32], int], NDArray[np.float32]], config: MixerConfig, device: str
) -> int:
    """Return the micro-batch size: on a GPU the largest, elsewhere one at which all rows get the same bits."""
    size = _LARGEST_MICRO_BATCH[device]
    multiply_adds = sum(part.multiply_adds for part in cost(config))
    while device == "cpu" and size > 1 and size * multiply_adds > _MAX_CPU_MULTIPLY_ADDS:
        size //= 2
    if device == "cuda":
        return size
    # Small Mixers sum few numbers, whose result may be equal by chance, so they are tried with many images.
    num_images = max(1, min(_MAX_TRIALS, int(_MAX_TRIAL_MULTIPLY_ADDS / (size * multiply_adds))))
    generator = np.random.default_rng(0)
    for _ in range(num_images):
        image = generator.standard_normal((1, 3, *config.image_size), dtype=np.float32)
        logits = compute(np.repeat(image, size, axis=0), size)
        if not np.array_equal(logits, np.repeat(logits[:1], size, axis=0)):
            return 1
    return size
