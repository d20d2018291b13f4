"""The division of an evaluation among processes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Split

__all__ = ["ALONE", "Shares"]


@dataclass(frozen=True)
class Shares:
    """This process among those that evaluate the same model on the same photos.

    Attributes:
        rank: from 0 to count - 1.
        count: of processes.
        gather: from this process's rows, float32 (m, ...), to those of all processes, by rank; each gives as many.
    """

    rank: int
    count: int
    gather: Callable[[NDArray[np.float32]], NDArray[np.float32]]

    def rows(self, split: Split, compute: Callable[[Split], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the rows (n, ...) of all photos of a split, on every process; each computes those of its share.

        `compute` returns the rows of the photos that it is given, of none too.
        """
        size = -(-len(split) // self.count)
        mine = np.arange(self.rank * size, min((self.rank + 1) * size, len(split)))
        computed = compute(split.subset(mine))
        filled = np.zeros((size, *computed.shape[1:]), dtype=np.float32)  # shares of one size: the last may be smaller
        filled[: len(computed)] = computed
        return self.gather(filled)[: len(split)]


ALONE = Shares(0, 1, lambda rows: rows)
