"""The input of one training step, whole or in parts for gradient accumulation."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["TrainingBatch"]


class TrainingBatch(NamedTuple):
    """The input of one step, on the device.

    images: (B, 3, H, W) float32, augmented, mixed and normalised; or their features (B, C) float32.
    labels: (B, K) float32, rows that sum to 1.
    depth_draws: (B, 2 N) uniform draws for stochastic depth; None if it is off.
    keys: uint64 keys of the samples in the whole batch, including those of other processes.
    class_weights: (K,) float32; None if all classes are weighted equally.
    """

    images: Tensor
    labels: Tensor
    depth_draws: Tensor | None
    keys: NDArray[np.uint64]
    class_weights: Tensor | None = None

    def parts(self, count: int) -> Iterator["TrainingBatch"]:
        """Yield the batch in `count` equal parts."""
        if count == 1:
            yield self
            return
        size = len(self.images) // count
        for start in range(0, len(self.images), size):
            part = slice(start, start + size)
            depth_draws = None if self.depth_draws is None else self.depth_draws[part]
            yield self._replace(images=self.images[part], labels=self.labels[part], depth_draws=depth_draws)
