"""Total and free memory of this process: in a container or a batch job, often less than the machine's."""

import os
from pathlib import Path

from allmlp.hardware.control_groups import group_folders, read_kernel_file

__all__ = ["free_memory", "total_memory"]

# By version of control groups: the files with a group's limit and its usage, and the statistic of cached files, which are
# part of the usage but are dropped when memory is short.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def total_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory of this machine, or a control group's limit if lower; None if unknown.

    `root` is the folder that holds proc/ and sys/.
    """
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not POSIX
        return None
    limits = [_read_number(folder / _FILES[version][0]) for version, folder in group_folders(root, "memory")]
    return min([total, *(limit for limit in limits if limit is not None)])


def free_memory(root: Path = Path("/")) -> int:
    """Return the free bytes of memory of this machine, or what a control group still allows if that is less.

    `root` is the folder that holds proc/ and sys/.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not POSIX: assume a small machine
        free = 4 << 30
    allowances = [_remaining(folder, *_FILES[version]) for version, folder in group_folders(root, "memory")]
    return max(0, min([free, *(allowance for allowance in allowances if allowance is not None)]))


def _remaining(folder: Path, limit_file: str, usage_file: str, cached: str) -> int | None:
    """Return the bytes that a group may still allocate; None if it has no limit or cannot be read."""
    limit, usage = _read_number(folder / limit_file), _read_number(folder / usage_file)
    if limit is None or usage is None:
        return None
    try:
        statistics = dict(line.split() for line in read_kernel_file(folder / "memory.stat").splitlines())
        return limit - usage + int(statistics.get(cached, 0))
    except ValueError:
        return None


def _read_number(path: Path) -> int | None:
    try:
        return int(read_kernel_file(path))
    except ValueError:  # "max", or no file
        return None
