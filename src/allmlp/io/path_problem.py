"""Why the system refuses a path that a user gave: too long, a loop of links, a NUL character, no permission."""

import os
from pathlib import Path

__all__ = ["path_problem"]


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
