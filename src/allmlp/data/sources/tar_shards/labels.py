"""Class of a sample in a tar shard: from its .cls or .json, and the file of class names next to the shards."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from allmlp.errors import DataError
from allmlp.io.display import escape, quote

__all__ = [
    "CLASS_NAME_FILES",
    "LABEL_FIELDS",
    "MAX_LABEL_BYTES",
    "MAX_NAMES_BYTES",
    "SampleLabel",
    "class_names_in",
    "label_of",
]

CLASS_NAME_FILES = ("classes.txt", "class_names.txt", "classnames.txt", "labels.txt")
"""Names of files with one class name per line, in the order of the class numbers."""

LABEL_FIELDS = ("cls", "json")
"""Extensions of the members that may state the class."""

MAX_LABEL_BYTES = 1 << 20  # of a .cls or .json
MAX_NAMES_BYTES = 4 << 20  # 21,843 class names take half a megabyte
_MAX_DIGITS = 9
_JSON_KEYS = ("class_name", "label", "cls", "class")


class SampleLabel(NamedTuple):
    """The class of a sample, a number or a name; None if it is not stated. `sample_id` is the one that `allmlp shard` keeps."""

    label: int | str | None
    sample_id: str | None = None


def label_of(fields: dict[str, bytes]) -> SampleLabel:
    """Return the class that a sample's "cls" and "json" state; the JSON's class_name comes before a number.

    Raises:
        ValueError: one of them is not what its extension says; the message names the extension.
    """
    stated = _from_cls(fields["cls"]) if "cls" in fields else None
    if "json" not in fields:
        return SampleLabel(stated)
    try:
        values: Any = json.loads(fields["json"])
    except (ValueError, RecursionError) as error:
        if stated is not None:  # the JSON of others may be anything
            return SampleLabel(stated)
        raise ValueError(".json that is not JSON") from error
    if not isinstance(values, dict):
        return SampleLabel(stated)
    name = _usable(values.get("class_name"))
    label = name if isinstance(name, str) else stated
    if label is None:
        label = next((value for key in _JSON_KEYS if (value := _usable(values.get(key))) is not None), None)
    sample_id = values.get("sample_id")
    return SampleLabel(label, sample_id if isinstance(sample_id, str) and sample_id else None)


def class_names_in(folder: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Return the file of class names in a folder, and the names; None if there is no such file.

    Raises:
        DataError: the file cannot be read as text, or has an empty line or a name twice.
    """
    path = next((path for name in CLASS_NAME_FILES if (path := folder / name).is_file()), None)
    if path is None:
        return None
    try:
        if path.stat().st_size > MAX_NAMES_BYTES:
            raise DataError(
                f"{escape(path)}: larger than {MAX_NAMES_BYTES >> 20} MiB; expected one class name per line."
            )
        names = tuple(path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", error)
        raise DataError(
            f"{escape(path)}: these class names cannot be read ({reason}). Save them as UTF-8 text."
        ) from error
    if empty := [number for number, name in enumerate(names, start=1) if not name.strip()]:
        line = empty[0]
        raise DataError(f"{escape(path)}: line {line} is empty; expected one class name per line, from class 0 on.")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{escape(path)}: {quote(repeated[0])} occurs twice; give each class its own name.")
    return path, names


def _from_cls(content: bytes) -> int | str | None:
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ValueError(".cls that is not text") from error
    if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) <= _MAX_DIGITS:
        return int(text)
    return sys.intern(text) or None


def _usable(value: Any) -> int | str | None:
    if isinstance(value, str):
        return sys.intern(value) if value.strip() else None  # one object per class, not per photo
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_MAX_DIGITS else None
