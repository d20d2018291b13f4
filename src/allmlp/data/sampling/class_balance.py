"""Training order in which every class occurs equally often, whatever its number of samples."""

import numpy as np
from numpy.typing import NDArray

from allmlp.data.sampling.stateless_random import epoch_order, occurrence_keys

__all__ = ["BalancedOrder"]


class BalancedOrder:
    """Epochs of n samples in which each of the K classes occurs n / K times, rounded up or down: a function of (seed, epoch).

    Each class goes through its samples in passes: in each pass, every sample once, in the order of that pass. An epoch takes
    the next n / K samples of each class, from where the previous epoch stopped. A rare class is therefore repeated within an
    epoch, and a frequent class takes several epochs until all its samples have been seen. If K does not divide n, the
    remaining n mod K positions are given to the classes in turn, across epochs.
    """

    def __init__(self, keys: NDArray[np.uint64], labels: NDArray[np.int64], *, seed: int) -> None:
        """Take the key and the class of each sample, both (n,)."""
        self._keys = keys
        self._seed = seed
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sample (n,) at each position of this epoch, and the pass (n,) of its class.

        No sample occurs twice in a pass, so random choices that depend on (pass, sample) differ each time.
        """
        parts = [self._taken(number, epoch) for number in range(len(self._members))]
        indices = np.concatenate([indices for indices, _ in parts])
        passes = np.concatenate([passes for _, passes in parts])
        order = epoch_order(self._seed, epoch, occurrence_keys(self._keys[indices], passes))
        return indices[order], passes[order]

    def _taken(self, number: int, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the samples that this epoch takes from one class, and the pass of each."""
        members = self._members[number]
        positions = np.arange(self._num_taken(number, epoch), self._num_taken(number, epoch + 1))
        passes, offsets = np.divmod(positions, len(members))
        # Passes are consecutive: split at their boundaries. Searching for each pass would be slow for a rare class.
        boundaries = np.flatnonzero(np.diff(passes)) + 1
        taken = [
            members[epoch_order(self._seed, int(passes[start]), self._keys[members])][part]
            for start, part in zip((0, *boundaries), np.split(offsets, boundaries), strict=True)
        ]
        return np.concatenate(taken), passes

    def _num_taken(self, number: int, epoch: int) -> int:
        """Return the number of samples that all earlier epochs take from a class."""
        num_classes = len(self._members)
        quotient, remainder = divmod(len(self._keys), num_classes)
        return epoch * quotient + (epoch * remainder - number + num_classes - 1) // num_classes
