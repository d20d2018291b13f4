"""What turns a checkpoint into a `Forward`. One entry in BACKENDS a runtime; torch loads when its entry is called.

A photo's logits must not depend on the photos beside it, or an evaluation would change with its batch size. But matrix
libraries choose a kernel by the shape of the product, and within one product the last rows may meet another kernel than
the first: both change the order of additions, and with it the last bits. So every call computes micro-batches of one
fixed size, the last one filled up with zeros. Whether every place of a micro-batch gives the same bits depends on the
model's widths, the processor and its threads, but not on the photos: it is tried out once, and where it fails photos
are computed one by one.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint
from allmlp.errors import ConfigError
from allmlp.hardware.devices import choose_device
from allmlp.metrics import Forward
from allmlp.model import MixerConfig, cost

__all__ = ["BACKENDS", "eager_forward"]

_LARGEST_MICRO_BATCH = 16
# A single photo pays for a whole micro-batch: on a processor at most this much, about 0.1 s on two cores. Large Mixers reach
# full speed with few photos at a time (B/16 has 12.6 GMACs and comes out at 1, S/32 at 4, those under 0.25 GMACs at 16).
_PROCESSOR_MULTIPLY_ADDS = 4e9


def eager_forward(
    checkpoint: Checkpoint, *, device: str = "auto", precision: Literal["float32", "bfloat16"] = "float32"
) -> Forward:
    """Return a `Forward` that runs the Mixer in torch, one operation after the other.

    It takes float32 (B, 3, H, W) for any B, also 0, and returns float32 (B, K). The logits of a photo are the same bits
    whatever the batch around it.

    Args:
        checkpoint: its weights are copied to the device.
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the matrix products; "bfloat16" keeps the weights and the norms in float32 (torch.autocast).

    Raises:
        ConfigError: a device that is not there, or an unknown precision.
    """
    import torch

    if precision not in ("float32", "bfloat16"):
        raise ConfigError(f"precision is {precision!r}; expected 'float32' or 'bfloat16'.")
    device = choose_device(device)
    model = checkpoint.build().to(device).eval()
    sample_shape = (3, *checkpoint.config.image_size)
    num_outputs = checkpoint.config.num_classes or checkpoint.config.hidden_dim

    def compute(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        # A tensor of torch's own: its memory is aligned, and on that, too, matrix kernels' results may depend.
        filled = torch.zeros(size, *sample_shape)
        filled.numpy()[: len(images)] = images
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits: NDArray[np.float32] = model(filled.to(device)).float().cpu().numpy()
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
    """Return the size of a micro-batch in which every place gives the same bits."""
    size = _LARGEST_MICRO_BATCH
    multiply_adds = sum(part.multiply_adds for part in cost(config))
    while device == "cpu" and size > 1 and size * multiply_adds > _PROCESSOR_MULTIPLY_ADDS:
        size //= 2
    photo = np.random.default_rng(0).standard_normal((1, 3, *config.image_size), dtype=np.float32)
    logits = compute(np.repeat(photo, size, axis=0), size)
    return size if np.array_equal(logits, np.repeat(logits[:1], size, axis=0)) else 1


BACKENDS: Mapping[str, Callable[..., Forward]] = {
    "eager": eager_forward,
}
