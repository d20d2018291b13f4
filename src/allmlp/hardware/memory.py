"""Memory of this process, all and free: in a container or a batch job, often less than the machine has."""

import os
from pathlib import Path

from allmlp.hardware.control_groups import group_folders, text_of

__all__ = ["free_memory", "total_memory"]

# By the version of control groups: the files of a group's limit and of what it uses, and the part of that which is only
# cached files and is given up when memory is short.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def total_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory of this machine, or fewer where a control group allows fewer; None where unknown.

    `root` is where proc/ and sys/ are.
    """
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not POSIX
        return None
    limits = [_number(folder / _FILES[version][0]) for version, folder in group_folders(root, "memory")]
    return min([total, *(limit for limit in limits if limit is not None)])


def free_memory(root: Path = Path("/")) -> int:
    """Return the bytes that are free on this machine, or fewer where a control group allows fewer.

    `root` is where proc/ and sys/ are.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not POSIX: assume a small machine
        free = 4 << 30
    left = [_left(folder, *_FILES[version]) for version, folder in group_folders(root, "memory")]
    return max(0, min([free, *(number for number in left if number is not None)]))


def _left(folder: Path, limit_file: str, used_file: str, cached: str) -> int | None:
    """Return what a group may still take; None where it has no limit or cannot be read."""
    limit, used = _number(folder / limit_file), _number(folder / used_file)
    if limit is None or used is None:
        return None
    try:
        statistics = dict(line.split() for line in text_of(folder / "memory.stat").splitlines())
        return limit - used + int(statistics.get(cached, 0))
    except ValueError:
        return None


def _number(path: Path) -> int | None:
    try:
        return int(text_of(path))
    except ValueError:  # "max", or no file
        return None
