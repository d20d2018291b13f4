"""The threads that torch computes with on the CPU: their number, on which the rounding of sums depends, and how they wait."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from allmlp.hardware.num_compute_threads import THREADS_OF_QUOTA
from allmlp.hardware.num_decoding_threads import has_quota, usable_cores

__all__ = ["compute_threads", "limit_spinning"]

# 15 times less than the default. The next operation of a training step comes sooner than this.
_SPIN_COUNT = 20_000


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


def limit_spinning(root: Path = Path("/")) -> None:
    """Make torch's threads sleep after waiting for a fraction of a millisecond, and limit their number by a quota of CPU time.

    By default, a thread of libgomp that waits for the next operation keeps a core busy for 300,000 rounds. Next to another busy
    program, it takes this time from the thread that it waits for (benchmarks/training_step.py, contestant "default waiting").
    The results are the same. In a container with a quota (`docker run --cpus`), torch would start a thread for each core of
    the machine. The user's own environment variables win. OpenMP libraries read them once, so this must be called before
    torch is loaded; only libgomp reads the one about waiting.

    `root` is the folder that holds proc/ and sys/.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPIN_COUNT))
    if not os.environ.get("OMP_NUM_THREADS") and has_quota(root):
        os.environ["OMP_NUM_THREADS"] = os.environ[THREADS_OF_QUOTA] = str(usable_cores(root, physical=True))
