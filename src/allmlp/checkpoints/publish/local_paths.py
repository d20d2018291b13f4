"""Local paths in the source of a checkpoint, which are not published: a file or folder is named without its folders."""

import re
from pathlib import Path

__all__ = ["without_local_paths"]

# What `checkpoints` says of weights in a local file or folder: its path, and then these words. A path may have any characters.
_LOCAL = re.compile(r"(?P<path>.*?)(?P<rest> \([^()]*\): unknown origin.*|: \S+ by its SHA-256: .*)", re.DOTALL)

# The start of an absolute path: "/home", "C:\", "\\server" or "file:///home", but not the "/" in "https://", "S/16" or "a/b".
_START = re.compile(r"(?<![\w.~/\\-])(?:file:/*|[A-Za-z]:[\\/]|\\\\|(?<!:)/+(?=[^\s/])|(?<=:)/(?=[^\s/]))")
_SEPARATOR = re.compile(r"[\\/]+")
_WORD = re.compile(r"\S+")
_END = ":;,.)]'\"`"
_HOMES = frozenset({"home", "users"})


def without_local_paths(source: str) -> str:
    """Return a source in words with the last name of each absolute path in place of the path.

    A path may contain spaces: it ends with the last word with a separator, before a semicolon or another absolute path. A home
    folder has the name of its user and is called "a home folder".
    """
    if (match := _LOCAL.fullmatch(source)) and _START.match(match["path"]):
        return f"{_name(match['path'])}{without_local_paths(match['rest'])}"
    starts = [match.start() for match in _START.finditer(source)]
    if not starts:
        return source
    parts = [source[: starts[0]]]
    for start, following in zip(starts, [*starts[1:], len(source)], strict=True):
        text = source[start:following]
        end = _end_of_path(text)
        parts += [_name(text[:end]), text[end:]]
    return "".join(parts)


def _end_of_path(text: str) -> int:
    """Return where the path ends with which `text` starts, without the punctuation behind it."""
    clause = text.partition("; ")[0]
    words = [word for word in _WORD.finditer(clause) if word.start() == 0 or _SEPARATOR.search(word[0])]
    return len(clause[: words[-1].end()].rstrip(_END)) or len(clause)


def _name(path: str) -> str:
    names = [name for name in _SEPARATOR.split(path) if name not in ("", "file:")]
    if not names:
        return "a local folder"
    is_home = len(names) > 1 and names[-2].lower() in _HOMES
    return "a home folder" if is_home or _is_home(path) else names[-1]


def _is_home(path: str) -> bool:
    try:
        home = str(Path.home())
    except RuntimeError:  # no home folder
        return False
    return len(home) > 1 and path.rstrip("/\\") == home
