"""Why a path cannot be looked at or read: too long, a loop of links, a NUL character, no permission, not a regular file."""

import os
from pathlib import Path

__all__ = ["check_regular", "path_problem"]


def path_problem(path: Path) -> str:
    """Return why the system refuses `path`; "" if it exists or may be created."""
    try:
        os.stat(path)  # noqa: PTH116 - as the other functions of os, it takes any name
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return error.strerror or str(error)
    except ValueError:
        return "the name contains a NUL character"
    return ""


def check_regular(path: Path) -> None:
    """Check that `path`, if it exists, is a regular file: opening a pipe would block, and a device never ends.

    Raises:
        OSError: it is something else.
    """
    if path.exists() and not path.is_file():
        raise OSError("not a regular file")
