"""The order of training samples over steps and epochs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allmlp.data.sampling.class_balance import BalancedOrder
from allmlp.data.sampling.stateless_random import epoch_order, sample_keys

__all__ = ["TrainingOrder"]


class TrainingOrder:
    """The order of training samples, a function of (seed, step) only.

    Epochs follow each other without a gap: a batch may contain the end of an epoch and the start of the next, so that every
    sample is seen equally often for any batch size, and a data set smaller than a batch is not a special case.

    With `balanced_labels` (n,), the class of each sample, every class is seen equally often instead; see `BalancedOrder`.
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
        """Return the number of complete epochs after `step` steps."""
        return step * self.batch_size // len(self.keys)

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sample indices (B,) of step `step`, from 0, and the epoch (B,) in which each sample is seen.

        A balanced order returns passes instead of epochs: how many times the sample has been seen before.
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
