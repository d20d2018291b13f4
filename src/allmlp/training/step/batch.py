"""One step's input, as a whole or in the parts of gradient accumulation."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["TrainingBatch"]


class TrainingBatch(NamedTuple):
    """One step's input on the device.

    images: (B, 3, H, W) float32, augmented, mixed and normalised.
    labels: (B, K) float32 rows that sum to 1.
    depth_draws: (B, 2 N) uniform: what stochastic depth drops; None when it is off.
    keys: uint64: which samples the whole batch has, those of other processes too.
    class_weights: (K,) float32; None where all classes count alike.
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
            depth = None if self.depth_draws is None else self.depth_draws[part]
            yield self._replace(images=self.images[part], labels=self.labels[part], depth_draws=depth)
