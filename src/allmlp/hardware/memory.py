"""How much memory is free for this process: in a container or a batch job, often less than the machine has."""

import os
from pathlib import Path, PurePosixPath

__all__ = ["free_memory"]

# Of Linux's control groups, version 2 and version 1: where they lie, and the names of a group's limit, of what it uses, and
# of the part of that which is only cached files and is given up when memory is short.
_VERSIONS = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory(root: Path = Path("/")) -> int:
    """Return the bytes that are free on this machine, or fewer where a control group allows fewer.

    `root` is where proc/ and sys/ lie.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not POSIX: assume a small machine
        free = 4 << 30
    return max(0, min([free, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> list[int]:
    left = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (line + "::").split(":")[:3]
        for controller in controllers.split(","):
            if controller in _VERSIONS:
                top, *names = _VERSIONS[controller]
                # A limit holds for all groups below. Inside a container the path may be the host's: only the top is there.
                places = [PurePosixPath(group.lstrip("/")), *PurePosixPath(group.lstrip("/")).parents]
                left += [_left(root / top / place, *names) for place in places]
    return [number for number in left if number is not None]


def _left(folder: Path, limit_file: str, used_file: str, cached: str) -> int | None:
    """Return what a group may still take; None where it has no limit or cannot be read."""
    try:
        statistics = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
        return int(_text(folder / limit_file)) - int(_text(folder / used_file)) + int(statistics.get(cached, 0))
    except ValueError:  # "max", or no file
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
