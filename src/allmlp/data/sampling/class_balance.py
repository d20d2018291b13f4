"""An order in which every class comes equally often, however many samples each has."""

import numpy as np
from numpy.typing import NDArray

from allmlp.data.sampling.stateless_random import epoch_order, occurrence_keys

__all__ = ["BalancedOrder"]


class BalancedOrder:
    """Epochs of n samples in which each of the K classes stands n / K times, rounded up or down: a function of (seed, epoch).

    Each class goes through its own samples in passes: all of them once, in an order of that pass, before any comes again. An
    epoch takes the next n / K of each class, where the epoch before stopped. So a rare class repeats itself within an epoch,
    and a frequent one takes as many epochs as it needs until all of it has been seen. Where K does not divide n, the n mod K
    remaining positions go to the classes in turn, over all epochs.
    """

    def __init__(self, keys: NDArray[np.uint64], labels: NDArray[np.int64], *, seed: int) -> None:
        """Take the key and the class of each sample, both (n,)."""
        self._keys = keys
        self._seed = seed
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sample (n,) at each position of this epoch, and the pass (n,) in which its class shows it.

        No sample comes twice in one pass, so random choices that depend on (pass, sample) are new each time.
        """
        parts = [self._taken(number, epoch) for number in range(len(self._members))]
        indices = np.concatenate([indices for indices, _ in parts])
        passes = np.concatenate([passes for _, passes in parts])
        order = epoch_order(self._seed, epoch, occurrence_keys(self._keys[indices], passes))
        return indices[order], passes[order]

    def _taken(self, number: int, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what this epoch takes of one class, and the pass of each."""
        members = self._members[number]
        positions = np.arange(self._num_taken(number, epoch), self._num_taken(number, epoch + 1))
        passes, offsets = np.divmod(positions, len(members))
        # Passes follow each other: cut between them, as looking for each among all would take ages for a rare class.
        cuts = np.flatnonzero(np.diff(passes)) + 1
        taken = [
            members[epoch_order(self._seed, int(passes[start]), self._keys[members])][part]
            for start, part in zip((0, *cuts), np.split(offsets, cuts), strict=True)
        ]
        return np.concatenate(taken), passes

    def _num_taken(self, number: int, epoch: int) -> int:
        """Return how many samples of a class all epochs before this one take."""
        num_classes = len(self._members)
        whole, left = divmod(len(self._keys), num_classes)
        return epoch * whole + (epoch * left - number + num_classes - 1) // num_classes
