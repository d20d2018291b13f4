"""Division of an evaluation among processes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Split

__all__ = ["SINGLE_PROCESS", "Shares"]


@dataclass(frozen=True)
class Shares:
    """One process's share of an evaluation in which all processes score the same model on the same photos.

    Attributes:
        rank: this process's number, from 0 to count - 1.
        count: the number of processes.
        gather: takes this process's rows, float32 (m, ...), and returns the rows of all processes in order of rank; m is
            the same for every process.
    """

    rank: int
    count: int
    gather: Callable[[NDArray[np.float32]], NDArray[np.float32]]

    def rows(self, split: Split, compute: Callable[[Split], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the rows (n, ...) of all photos of a split; each process computes its share and gets all rows.

        `compute` returns one row per photo that it is given; it must accept an empty split.
        """
        size = -(-len(split) // self.count)
        own_indices = np.arange(self.rank * size, min((self.rank + 1) * size, len(split)))
        computed = compute(split.subset(own_indices))
        padded = np.zeros((size, *computed.shape[1:]), dtype=np.float32)  # the last shares may be smaller than `size`
        padded[: len(computed)] = computed
        return self.gather(padded)[: len(split)]


SINGLE_PROCESS = Shares(0, 1, lambda rows: rows)
