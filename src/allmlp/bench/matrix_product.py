"""The rate of large matrix products on this machine, the limit of what a Mixer can reach."""

import time

__all__ = ["matrix_product_gflops"]

_SIDE = 1024
_TURNS = 12


def matrix_product_gflops(precision: str, *, side: int = _SIDE, turns: int = _TURNS) -> float:
    """Return the highest measured GFLOP/s of a square matrix product by torch on the CPU, with torch's number of threads.

    `precision` is a name of torch's types, such as "float32" or "bfloat16".
    """
    import torch

    a, b = (torch.randn(side, side).to(getattr(torch, precision)) for _ in range(2))
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2e-9 * side**3 / min(times)
