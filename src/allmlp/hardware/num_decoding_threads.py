"""The CPU cores that this process may use, and the number of threads that decode photos: as many, up to a maximum."""

import math
import os
from pathlib import Path

from allmlp.hardware.control_groups import group_folders, read_kernel_file

__all__ = ["has_quota", "num_decoding_threads", "usable_cores"]

_MAX_THREADS = 16  # more threads need more memory for photos decoded ahead and are hardly faster


def num_decoding_threads(root: Path = Path("/")) -> int:
    """Return one thread per CPU core that this process may use, at most 16. It affects speed, never a result.

    `root` is the folder that holds proc/ and sys/.
    """
    return min(_MAX_THREADS, usable_cores(root))


def usable_cores(root: Path = Path("/"), *, physical: bool = False) -> int:
    """Return the number of CPU cores that this process may use; two hardware threads of one core are one `physical` core.

    The affinity mask (taskset, a batch scheduler) limits the cores, and so does a control group's quota of CPU time
    (`docker run --cpus`), rounded up. `root` is the folder that holds proc/ and sys/.
    """
    return max(1, min([_num_cores(root, physical=physical), *_quotas(root)]))


def has_quota(root: Path = Path("/")) -> bool:
    """Return whether a control group's quota of CPU time allows fewer cores than the affinity mask.

    `root` is the folder that holds proc/ and sys/.
    """
    return min(_quotas(root), default=math.inf) < _num_cores(root, physical=False)


def _num_cores(root: Path, *, physical: bool) -> int:
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    processors = os.sched_getaffinity(0)
    return len({_core_of(number, root) for number in processors} if physical else processors)


def _quotas(root: Path) -> list[int]:
    """Return the cores that the quotas of the control groups allow, rounded up."""
    quotas = [_quota(version, folder) for version, folder in group_folders(root, "cpu")]
    return [math.ceil(quota) for quota in quotas if quota is not None]


def _core_of(processor: int, root: Path) -> str:
    """Return the processors that share a core with this one, as the kernel lists them; where it does not, the processor."""
    path = root / "sys" / "devices" / "system" / "cpu" / f"cpu{processor}" / "topology" / "thread_siblings_list"
    return read_kernel_file(path).strip() or str(processor)


def _quota(version: int, folder: Path) -> float | None:
    """Return a group's quota of CPU time, in cores; None if it has no quota or cannot be read."""
    if version == 2:
        numbers = read_kernel_file(folder / "cpu.max").split()
    else:
        numbers = [read_kernel_file(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    try:
        quota, period = map(int, numbers)
    except ValueError:  # "max", or no file
        return None
    return quota / period if quota > 0 and period > 0 else None  # -1: no quota
