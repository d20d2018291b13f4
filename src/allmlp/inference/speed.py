"""Speed of a model on this machine, measured briefly."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from allmlp.checkpoints import Checkpoint
from allmlp.hardware.devices import choose_device
from allmlp.inference.backends.eager import eager_forward
from allmlp.model import num_multiply_adds

__all__ = ["Speed", "measure_speed"]

_MIN_TURNS = 3
_MAX_TURNS = 20
_SECONDS = 1.0
# On a CPU, 16 images of more multiply-adds than this would take too long here.
_MAX_MULTIPLY_ADDS = 2e10


@dataclass(frozen=True)
class Speed:
    """How long a model takes per photo that is already decoded.

    Attributes:
        milliseconds: the median over the batches, per photo.
        num_batches: the number of batches that were timed.
        batch_size: the photos in a batch.
        device: "cpu", "cuda" or "mps".
        num_threads: torch's threads.
    """

    milliseconds: float
    num_batches: int
    batch_size: int
    device: str
    num_threads: int


def measure_speed(checkpoint: Checkpoint, *, device: str = "auto") -> Speed:
    """Time a checkpoint in float32 for about a second, at least three batches, after one batch to warm up.

    A batch has 64 photos on a GPU, 16 of a small Mixer on a CPU, and 1 of a large one.

    Raises:
        ConfigError: an unavailable device.
    """
    import torch

    device = choose_device(device)
    forward = eager_forward(checkpoint, device=device)
    batch_size = _batch_size(checkpoint, device)
    shape = (batch_size, 3, *checkpoint.config.image_size)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    forward(images)
    times: list[float] = []
    while len(times) < _MIN_TURNS or (len(times) < _MAX_TURNS and sum(times) < _SECONDS):
        start = time.perf_counter()
        forward(images)
        times.append(time.perf_counter() - start)
    return Speed(
        milliseconds=1000 * statistics.median(times) / batch_size,
        num_batches=len(times),
        batch_size=batch_size,
        device=device,
        num_threads=torch.get_num_threads(),
    )


def _batch_size(checkpoint: Checkpoint, device: str) -> int:
    if device != "cpu":
        return 64
    multiply_adds = num_multiply_adds(checkpoint.config)
    return 16 if 16 * multiply_adds <= _MAX_MULTIPLY_ADDS else 1
