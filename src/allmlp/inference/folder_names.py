"""File and folder names that every system accepts, and that do not collide on any."""

import os
import unicodedata
from pathlib import PurePath

__all__ = ["UniqueNames", "safe_name"]

_MAX_BYTES = 255
_FORBIDDEN = set('/\\:*?"<>|')
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def safe_name(text: str) -> str:
    """Return `text` as a name for a folder on any system: one level, visible, of at most 200 bytes.

    Characters that Windows forbids, control and undecodable characters become "_", as do a leading dot and trailing dots or
    blanks. Windows' device names, such as "con", get a "_" at the end.
    """
    name = "".join(c if c.isprintable() and c not in _FORBIDDEN else "_" for c in text)
    name = _cut(name.strip(" "), 200)
    kept = name.rstrip(". ")
    name = kept + "_" * (len(name) - len(kept))
    if name.startswith("."):
        name = "_" + name[1:]
    if name.partition(".")[0].rstrip(" ").casefold() in _RESERVED:
        name += "_"
    return name or "_"


class UniqueNames:
    """The names in a folder, of which no two differ only by case or Unicode form."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        """Return `name` if it is free, else "stem (2).suffix", "stem (3).suffix", ..., and take it."""
        path = PurePath(name)
        candidate, number = name, 1
        while _key(candidate) in self._taken:
            number += 1
            ending = f" ({number}){path.suffix}"
            candidate = _cut(path.stem, _MAX_BYTES - len(os.fsencode(ending))) + ending
        self._taken.add(_key(candidate))
        return candidate


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _cut(name: str, num_bytes: int) -> str:
    """Return the start of `name`, of at most `num_bytes` bytes, without half a character at its end."""
    encoded = os.fsencode(name) if len(name) * 4 > num_bytes else b""
    while len(encoded) > num_bytes:
        name = name[:-1]
        encoded = os.fsencode(name)
    return name
