"""Cache of facts about photos: one bounded JSON file per data set in allmlp's cache folder.

The file is untrusted: an entry that is not exactly what `FactsCache` writes is ignored. Facts are used again while the file of
a photo has the same path, size and times, and only if it can still be read: with the same limit of pixels or a higher one.
Unreadable photos are never remembered, because another version may read them.
"""

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from allmlp.data.dataset import Split
from allmlp.data.decoding.limits import max_pixels
from allmlp.data.decoding.more_formats import is_read
from allmlp.data.quality.photo_facts import THUMBNAIL_SIDE, PhotoFacts
from allmlp.data.sources.file_reader import FileReader
from allmlp.errors import AllmlpError
from allmlp.io.atomic_write import write_bytes
from allmlp.io.cache_folder import cache_folder
from allmlp.io.file_kinds import FileKind

__all__ = ["FactsCache", "stamps_of"]

_MAX_BYTES = 128 << 20  # about 90,000 photos; those beyond are read again
_VERSION = f"2 Pillow {PIL.__version__}"  # count up when `decode` or `PhotoFacts` changes
_DIGEST = re.compile("[0-9a-f]{64}")
_TYPES: Mapping[str, type] = {
    "digest": str, "num_bytes": int, "mode": str, "bits": int, "orientation": int, "is_animated": bool,
    "has_transparency": bool, "is_grey": bool, "kind": str, "size": list, "thumbnail": str,
}  # fmt: skip


class FactsCache:
    """Facts by the location and the stamp of each photo. `source` is the data set they belong to; None remembers nothing."""

    def __init__(self, source: str | None) -> None:
        self._path = None if source is None else _path(source)
        self._entries = {} if self._path is None else _read(self._path)
        self._used: dict[str, Any] = {}  # without photos that are gone
        self._is_changed = False

    @property
    def remembers(self) -> bool:
        """Whether facts are remembered at all."""
        return self._path is not None

    def get(self, where: str, stamp: str) -> PhotoFacts | None:
        """Return what is remembered about a photo; None if nothing valid is."""
        entry = self._entries.get(where)
        if not stamp or not isinstance(entry, dict) or entry.get("stamp") != stamp:
            return None
        try:
            facts = _facts(entry)
            self._used[where] = entry
            is_readable = is_read(facts.kind) and facts.size[0] * facts.size[1] <= max_pixels()
            return facts if is_readable else None  # with another limit, or without an extra, it is not
        except (ValueError, TypeError, KeyError):
            return None

    def put(self, where: str, stamp: str, facts: PhotoFacts) -> None:
        """Remember the facts about a readable photo. Thread-safe."""
        if self._path is not None and stamp and facts.error is None:
            self._used[where] = {"stamp": stamp, **_entry(facts)}
            self._is_changed = True

    def save(self) -> None:
        """Write what is new, as far as it fits. A cache that cannot be written is not an error: the check is complete."""
        if self._path is None or not self._is_changed:
            return
        lines, num_bytes = [], 0
        for where, entry in self._used.items():
            line = json.dumps([where, entry], separators=(",", ":"))
            num_bytes += len(line) + 2
            if num_bytes > _MAX_BYTES - 1000:
                break
            lines.append(line)
        try:
            photos = ",\n".join(lines)
            write_bytes(self._path, f'{{"version":{json.dumps(_VERSION)},"photos":[\n{photos}\n]}}\n'.encode())
        except AllmlpError:
            return


def stamps_of(split: Split) -> list[str]:
    """Return what changes when the file of a photo does, for each photo: path, size and times; "" if unknown."""
    reader = split.reader
    if isinstance(reader, FileReader):
        return [_stamp(path) for path in reader.photo_files()]
    stamps = [_stamp(path) for path in reader.photo_files()]
    whole = hashlib.sha256("\n".join(stamps).encode()).hexdigest() if stamps and all(stamps) else ""
    return [whole] * len(split)


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _path(source: str) -> Path | None:
    name = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    try:
        return cache_folder() / "photo-facts" / f"{name}.json"
    except AllmlpError:  # the user has no home folder
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return {}
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            return {}
        return {where: entry for where, entry in content["photos"] if isinstance(where, str)}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _entry(facts: PhotoFacts) -> dict[str, Any]:
    values = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts) if field.name != "error"}
    thumbnail = b"" if facts.thumbnail is None else facts.thumbnail.tobytes()
    kind = "" if facts.kind is None else facts.kind.name
    return {**values, "size": list(facts.size), "kind": kind, "thumbnail": base64.b64encode(thumbnail).decode()}


def _facts(entry: Mapping[str, Any]) -> PhotoFacts:
    """Return the facts of an entry. Raises ValueError, TypeError or KeyError if it is not one that was written here."""
    values = {name: entry[name] for name in _TYPES}
    if any(type(values[name]) is not kind for name, kind in _TYPES.items()):
        raise TypeError("a value of another type")
    width, height = values["size"]
    if type(width) is not int or type(height) is not int or not (0 < width < 1 << 16 and 0 < height < 1 << 16):
        raise ValueError("a size out of range")
    if not (_DIGEST.fullmatch(values["digest"]) and 1 <= values["orientation"] <= 8 and values["num_bytes"] > 0):
        raise ValueError("a digest, an orientation or a number of bytes that no photo has")
    pixels = np.frombuffer(base64.b64decode(values["thumbnail"], validate=True), np.uint8)
    values["thumbnail"] = pixels.reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
    values["kind"] = FileKind[values["kind"]] if values["kind"] else None
    values["size"] = (width, height)
    return PhotoFacts(**values)
