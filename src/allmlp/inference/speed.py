"""Speed of a model on this machine, measured briefly."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from allmlp.checkpoints import Checkpoint
from allmlp.hardware.devices import choose_device
from allmlp.inference.backends.eager import eager_forward

__all__ = ["Speed", "measure_speed"]

_MIN_TURNS = 3
_MAX_TURNS = 20
_BATCH_SIZE = 16
_SECONDS = 1.0


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

    A batch has 16 photos, or 1 if 16 of them would take longer than half a second.

    Raises:
        ConfigError: an unavailable device.
    """
    import torch

    device = choose_device(device)
    forward = eager_forward(checkpoint, device=device)
    images = np.random.default_rng(0).standard_normal((_BATCH_SIZE, 3, *checkpoint.config.image_size), dtype=np.float32)

    def seconds(batch_size: int) -> float:
        start = time.perf_counter()
        forward(images[:batch_size])
        return time.perf_counter() - start

    seconds(1)
    batch_size = _BATCH_SIZE if _BATCH_SIZE * seconds(1) < _SECONDS / 2 else 1
    times: list[float] = []
    while len(times) < _MIN_TURNS or (len(times) < _MAX_TURNS and sum(times) < _SECONDS):
        times.append(seconds(batch_size))
    return Speed(
        milliseconds=1000 * statistics.median(times) / batch_size,
        num_batches=len(times),
        batch_size=batch_size,
        device=device,
        num_threads=torch.get_num_threads(),
    )
