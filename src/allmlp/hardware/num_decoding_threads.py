"""The number of threads that decode photos: what this process may use of the processor, up to a bound."""

import math
import os
from pathlib import Path

from allmlp.hardware.control_groups import group_folders, text_of

__all__ = ["num_decoding_threads"]

_MAX_THREADS = 16  # beyond it, memory for photos decoded ahead grows and speed hardly does


def num_decoding_threads(root: Path = Path("/")) -> int:
    """Return one thread per processor core that this process may use, at most 16: it decides speed, never a result.

    A core counts if the affinity mask allows it (taskset, a batch scheduler); a control group's quota of processor time
    (`docker run --cpus`) counts rounded up. `root` is where proc/ and sys/ are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [_quota(version, folder) for version, folder in group_folders(root, "cpu")]
    return max(1, min([cores, _MAX_THREADS, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def _quota(version: int, folder: Path) -> float | None:
    """Return the cores' worth of time that a group may use; None where it has no quota or cannot be read."""
    if version == 2:
        numbers = text_of(folder / "cpu.max").split()
    else:
        numbers = [text_of(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    try:
        quota, period = map(int, numbers)
    except ValueError:  # "max", or no file
        return None
    return quota / period if quota > 0 and period > 0 else None  # -1: no quota
