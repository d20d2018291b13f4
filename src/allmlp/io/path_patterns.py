"""Patterns of paths, such as "photos/**/*.jpg", which a shell would expand."""

import glob
import os

from allmlp.errors import DataError
from allmlp.io.display import escape

__all__ = ["is_pattern", "paths_matching"]


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
