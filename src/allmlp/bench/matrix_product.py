"""The rate of large matrix products on this machine, the limit of what a Mixer can reach."""

import time
from collections.abc import Callable

__all__ = ["matrix_product", "matrix_product_gflops"]

_SIDE = 1024
_TURNS = 12


def matrix_product(precision: str, *, side: int = _SIDE) -> tuple[Callable[[], object], float]:
    """Return a square matrix product by torch on the CPU, with torch's number of threads, and its GFLOP.

    `precision` is a name of torch's types, such as "float32" or "bfloat16".
    """
    import torch

    a, b = (torch.randn(side, side).to(getattr(torch, precision)) for _ in range(2))
    return lambda: a @ b, 2e-9 * side**3


def matrix_product_gflops(precision: str, *, side: int = _SIDE, turns: int = _TURNS) -> float:
    """Return the highest measured GFLOP/s of `matrix_product`."""
    call, gflop = matrix_product(precision, side=side)
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return gflop / min(times)
