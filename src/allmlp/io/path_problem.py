"""Paths as users give them: patterns, why one cannot be looked at or read, and what is meant by one that is missing."""

import contextlib
import glob
import itertools
import os
from collections.abc import Collection
from pathlib import Path

from allmlp.errors import DataError, close_matches
from allmlp.io.display import escape
from allmlp.io.remote_address import ADDRESS_ADVICE, is_address

__all__ = [
    "MAX_NAMES",
    "check_regular",
    "is_pattern",
    "path_advice",
    "path_problem",
    "path_text",
    "paths_matching",
]

MAX_NAMES = 10_000
"""Names of a folder that are compared with the missing one."""


def path_text(value: object) -> str | None:
    """Return the text of a path; None if `value` is not a str or a working `os.PathLike`."""
    if isinstance(value, str):
        return value
    if not isinstance(value, os.PathLike):
        return None
    try:
        return os.fsdecode(value)
    except Exception:  # of the object's own __fspath__
        return None


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


def path_advice(path: str | Path, names: Collection[str] = ()) -> str:
    """Return a sentence on a path that does not exist: that addresses are not read, or "Did you mean 'x'?"; "" for neither.

    Meant are existing paths that differ from `path` in one part, or `names`.
    """
    if is_address(path):
        return ADDRESS_ADVICE
    path = Path(path)
    similar: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        missing, parent = path, path.parent
        while not parent.is_dir() and parent != parent.parent:
            missing, parent = parent, parent.parent
        close = close_matches(missing.name, [entry.name for entry in itertools.islice(parent.iterdir(), MAX_NAMES)])
        rest = path.relative_to(missing)
        similar = [str(parent / name / rest) for name in close if (parent / name / rest).exists()]
    matches = close_matches(str(path), [*names, *similar])
    return f"Did you mean {' or '.join(repr(escape(match)) for match in matches)}?" if matches else ""


def is_pattern(source: str) -> bool:
    """Return whether an argument is a pattern such as "photos/*.jpg". A file or folder of that name comes first."""
    return glob.has_magic(source) and not os.path.lexists(source)


def paths_matching(pattern: str) -> list[str]:
    """Return what a pattern matches, sorted, as a shell would; with "**" only files, whose folders match too.

    Raises:
        DataError: no match.
    """
    try:
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - keeps the path as it was given
    except (OSError, ValueError):  # a null byte
        found = []
    if "**" in pattern:
        found = [path for path in found if not os.path.isdir(path)]  # noqa: PTH112
    if not found:
        raise DataError(f"{escape(pattern)}: no file matches this pattern.")
    return list(dict.fromkeys(found))
