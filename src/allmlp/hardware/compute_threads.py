"""The number of threads that torch computes with on the CPU: it decides in which order sums are rounded."""

import contextlib
from collections.abc import Iterator

__all__ = ["compute_threads"]


@contextlib.contextmanager
def compute_threads(count: int | None) -> Iterator[int]:
    """Compute with `count` threads inside the block; None changes nothing. Yields the number before."""
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
