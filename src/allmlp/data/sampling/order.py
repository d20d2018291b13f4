"""The order of training samples over steps and epochs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allmlp.data.sampling.class_balance import BalancedOrder
from allmlp.data.sampling.stateless_random import epoch_order, sample_keys

__all__ = ["TrainingOrder"]


class TrainingOrder:
    """The order in which training sees its samples: a function of (seed, step) alone.

    Epochs follow each other without a seam: a batch may end one and begin the next, so that every sample is seen equally
    often whatever the batch size, and a data set smaller than a batch needs no rule of its own.

    With `balanced_labels` (n,), the class of each sample, every class comes equally often instead; see `BalancedOrder`.
    """

    def __init__(
        self,
        sample_ids: Sequence[str],
        *,
        seed: int,
        batch_size: int,
        balanced_labels: NDArray[np.int64] | None = None,
    ) -> None:
        self.keys = sample_keys(sample_ids)
        self.seed = seed
        self.batch_size = batch_size
        self._balanced = None if balanced_labels is None else BalancedOrder(self.keys, balanced_labels, seed=seed)
        self._epochs: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def epochs_done(self, step: int) -> int:
        """Return how many epochs are complete after `step` steps."""
        return step * self.batch_size // len(self.keys)

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sample indices (B,) of a step, counted from 0, and the epoch (B,) in which each is seen.

        A balanced order has passes in place of epochs: which occurrence of the sample this is, from 0.
        """
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, offsets = np.divmod(positions, len(self.keys))
        needed = np.unique(epochs)
        self._epochs = {
            int(epoch): self._epochs[epoch] if epoch in self._epochs else self._epoch(int(epoch)) for epoch in needed
        }
        parts = [(self._epochs[int(epoch)], offsets[epochs == epoch]) for epoch in needed]
        indices = np.concatenate([indices[positions] for (indices, _), positions in parts])
        return indices, np.concatenate([passes[positions] for (_, passes), positions in parts])

    def _epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self._balanced is not None:
            return self._balanced.epoch(epoch)
        return epoch_order(self.seed, epoch, self.keys), np.full(len(self.keys), epoch, dtype=np.int64)
