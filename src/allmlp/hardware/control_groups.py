"""Linux control groups: the folders and files in which a container's or a batch job's limits stand."""

from pathlib import Path, PurePosixPath

__all__ = ["group_folders", "text_of"]

_TOP = PurePosixPath("sys/fs/cgroup")


def group_folders(root: Path, controller: str) -> list[tuple[int, Path]]:
    """Return the version (1 or 2) and the folder of each control group that limits this process.

    Args:
        root: where proc/ and sys/ are.
        controller: "memory" or "cpu".
    """
    found = []
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (line + "::").split(":")[:3]
        version = 1 if controllers else 2
        if version == 1 and controller not in controllers.split(","):
            continue
        top = root / (_TOP / controller if version == 1 else _TOP)
        path = PurePosixPath(group.lstrip("/"))
        # A limit holds for all groups below. Inside a container the path may be the host's: only the top is there.
        found += [(version, top / folder) for folder in (path, *path.parents)]
    return found


def text_of(path: Path) -> str:
    """Return the text of a file of the kernel's; "" where it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
