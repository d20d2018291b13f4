"""Micro-batches of a fixed size, in which an image's outputs do not depend on the rest of its batch.

If they did, scores would change with the batch size. But matrix libraries choose a kernel by the shape of the product, and may
use a different kernel for its last rows; either changes the order of additions and thus the last bits. So every call computes
micro-batches of a fixed size and pads the last one with zeros. Whether all rows of a micro-batch get the same bits depends on
the library, the model's widths, the device and the number of threads, but not on the images. So it is tested once; if the test
fails on a CPU, images are computed one at a time. On a GPU the size is kept, because computing images one at a time would cost
most of its speed.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from allmlp.inference.runnable import Output
from allmlp.metrics import Forward
from allmlp.model import MixerConfig, cost

__all__ = ["Compute", "in_micro_batches", "num_outputs"]

Compute = Callable[[NDArray[np.float32], int], NDArray[np.float32]]
"""From at most n images (b, 3, H, W) and n, the size to pad them to, to the outputs (b, K)."""

# On a GPU, the default batch size of `evaluate`: fewer images leave the GPU idle, and with more every batch would be padded.
_LARGEST_MICRO_BATCH = {"cpu": 16, "cuda": 64, "mps": 16}
# A single image costs a whole micro-batch, so this bounds a micro-batch on a CPU: about 0.1 s on two cores. Large Mixers reach
# full speed with few images (B/16 has 12.6 GMACs and gets micro-batches of 1, S/32 of 4, Mixers under 0.25 GMACs of 16).
_MAX_CPU_MULTIPLY_ADDS = 4e9
# A micro-batch size is tried with at most this many random images (a single one may miss a difference: on small Mixers, one in
# nine showed it), and with at most this many multiply-adds, 0.02 s on two cores.
_MAX_TRIALS = 32
_MAX_TRIAL_MULTIPLY_ADDS = 1e9


def num_outputs(config: MixerConfig, output: Output) -> int:
    """Return the width of an output: features, also of a Mixer without a classifier, or logits."""
    return config.hidden_dim if output == "features" or not config.num_classes else config.num_classes


def in_micro_batches(compute: Compute, config: MixerConfig, *, device: str, width: int) -> Forward:
    """Return a `Forward` for any number of images, including 0, whose outputs (B, `width`) `compute` computes."""
    sample_shape = (3, *config.image_size)
    size = _micro_batch(compute, config, device)

    def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
        if images.shape[1:] != sample_shape:
            raise ValueError(
                f"images have shape {images.shape}; this Mixer takes (B, {', '.join(map(str, sample_shape))})."
            )
        outputs = np.empty((len(images), width), dtype=np.float32)
        for start in range(0, len(images), size):
            outputs[start : start + size] = compute(images[start : start + size], size)
        return outputs

    return forward


def _micro_batch(compute: Compute, config: MixerConfig, device: str) -> int:
    """Return the micro-batch size: on a GPU the largest, elsewhere one at which all rows get the same bits."""
    size = _LARGEST_MICRO_BATCH[device]
    multiply_adds = sum(part.multiply_adds for part in cost(config))
    while device == "cpu" and size > 1 and size * multiply_adds > _MAX_CPU_MULTIPLY_ADDS:
        size //= 2
    if device == "cuda" or size == 1:
        return size
    # Small Mixers sum few numbers, whose result may be equal by chance, so they are tried with many images.
    num_images = max(1, min(_MAX_TRIALS, int(_MAX_TRIAL_MULTIPLY_ADDS / (size * multiply_adds))))
    generator = np.random.default_rng(0)
    for _ in range(num_images):
        image = generator.standard_normal((1, 3, *config.image_size), dtype=np.float32)
        outputs = compute(np.repeat(image, size, axis=0), size)
        if not np.array_equal(outputs, np.repeat(outputs[:1], size, axis=0)):
            return 1
    return size
