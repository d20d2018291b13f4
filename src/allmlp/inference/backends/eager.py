"""torch, one operation after the other: any checkpoint, on any device.

A photo's logits must not depend on the other photos of its batch, or an evaluation would change with its batch size. But
matrix libraries choose a kernel by the shape of the product, and within one product the last rows may meet another kernel
than the first: both change the order of additions, and with it the last bits. So every call computes micro-batches of a
fixed size, the last of them filled up with zeros. Whether every row of a micro-batch gives the same bits depends on the
model's widths, the device and its threads, but not on the photos: it is tried out once, and where it fails photos are
computed one by one on a processor. On a GPU, where that would cost most of its speed, the size is kept.
"""

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

# On a GPU as many photos as `evaluate` takes at a time: fewer leave it idle, and with more every batch would be filled up.
_LARGEST_MICRO_BATCH = {"cpu": 16, "cuda": 64, "mps": 16}
# A single photo pays for a whole micro-batch: on a processor at most this much, about 0.1 s on two cores. Large Mixers reach
# full speed with few photos at a time (B/16 has 12.6 GMACs and comes out at 1, S/32 at 4, those under 0.25 GMACs at 16).
_PROCESSOR_MULTIPLY_ADDS = 4e9
# A micro-batch is tried by at most so many photos, one of which in nine showed the difference where few did, and at most so
# long, 0.02 s on two cores.
_MOST_TRIALS = 32
_TRIAL_MULTIPLY_ADDS = 1e9


def recognises(source: str | Path | Checkpoint) -> bool:
    """Whether this backend opens a source: all that `load_checkpoint` reads, which says itself what it does not."""
    return isinstance(source, str | Path | Checkpoint)


def open_eager(source: str | Path | Checkpoint, device: str, precision: str, output: Output) -> RunnableModel:
    """Load a source where it is not loaded yet, and return it as a model that runs; `precision` "auto" is float32.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: an unavailable device, or an unknown precision.
    """
    checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    chosen = cast("Literal['float32', 'bfloat16']", "float32" if precision == "auto" else precision)
    runs = _headless(checkpoint) if output == "features" else checkpoint
    return RunnableModel(eager_forward(runs, device=device, precision=chosen), checkpoint.description, output)


def _headless(checkpoint: Checkpoint) -> Checkpoint:
    return checkpoint.replace(
        config=replace(checkpoint.config, num_classes=0),
        weights={name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")},
        class_names=(),
    )


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
    """Return the size of a micro-batch: one whose rows all get the same bits, on a GPU the largest."""
    size = _LARGEST_MICRO_BATCH[device]
    multiply_adds = sum(part.multiply_adds for part in cost(config))
    while device == "cpu" and size > 1 and size * multiply_adds > _PROCESSOR_MULTIPLY_ADDS:
        size //= 2
    if device == "cuda":
        return size
    # Of few numbers, as small Mixers compute, all may come out alike by chance: those are tried with many photos.
    num_photos = max(1, min(_MOST_TRIALS, int(_TRIAL_MULTIPLY_ADDS / (size * multiply_adds))))
    generator = np.random.default_rng(0)
    for _ in range(num_photos):
        photo = generator.standard_normal((1, 3, *config.image_size), dtype=np.float32)
        logits = compute(np.repeat(photo, size, axis=0), size)
        if not np.array_equal(logits, np.repeat(logits[:1], size, axis=0)):
            return 1
    return size
