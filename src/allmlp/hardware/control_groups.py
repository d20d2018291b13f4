"""Linux control groups: the folders and files that hold the limits of a container or a batch job."""

from pathlib import Path, PurePosixPath

__all__ = ["group_folders", "read_kernel_file"]

_ROOT_GROUP = PurePosixPath("sys/fs/cgroup")


def group_folders(root: Path, controller: str) -> list[tuple[int, Path]]:
    """Return the version (1 or 2) and the folder of each control group that limits this process.

    Args:
        root: the folder that holds proc/ and sys/.
        controller: "memory" or "cpu".
    """
    folders = []
    for line in read_kernel_file(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (line + "::").split(":")[:3]
        version = 1 if controllers else 2
        if version == 1 and controller not in controllers.split(","):
            continue
        root_group = root / (_ROOT_GROUP / controller if version == 1 else _ROOT_GROUP)
        path = PurePosixPath(group.lstrip("/"))
        # A group's limit holds for all groups below it. In a container the path may be the host's, where only the root exists.
        folders += [(version, root_group / folder) for folder in (path, *path.parents)]
    return folders


def read_kernel_file(path: Path) -> str:
    """Return the text of a file in /proc or /sys; "" if it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
