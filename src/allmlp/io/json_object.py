"""Reading a JSON object from an untrusted file, such as config.json; writing JSON that people can read, too."""

import json
import sys
from pathlib import Path
from typing import Any

from allmlp.errors import CheckpointError
from allmlp.io.display import escape

__all__ = ["MAX_CONFIG_BYTES", "json_text", "read_json_object"]

MAX_CONFIG_BYTES = 4 << 20  # 21,843 class names take half a megabyte
KINDS = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false", type(None): "null"}


def read_json_object(path: Path, *, what: str = "a checkpoint's configuration") -> dict[str, Any]:
    """Read the JSON object in a file; `what` says in messages what the file should be.

    Raises:
        CheckpointError: the file cannot be read, is larger than 4 MiB, or does not hold a JSON object.
    """
    shown = escape(path)
    try:
        if not path.is_file():  # opening a pipe would block
            raise CheckpointError(f"{shown}: no such file, or not a regular file.")
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise CheckpointError(f"{shown}: larger than {MAX_CONFIG_BYTES >> 20} MiB; this is not {what}.")
        values: Any = json.loads(path.read_bytes())  # UTF-8, or what its BOM says
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{shown}: could not be read as JSON: {error}. Obtain a fresh copy.") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{shown}: holds {KINDS[type(values)]}; expected a JSON object with {what}.")
    return values


def json_text(value: object, **options: Any) -> str:
    """Return JSON whose printable characters are not escaped; `options` are those of `json.dumps`.

    All of them are if standard output is not in UTF-8, which could not represent them.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if encoding.lower().replace("-", "") != "utf8":
        return json.dumps(value, **options)
    text = json.dumps(value, ensure_ascii=False, **options)
    if text.isprintable():
        return text
    # Control and bidirectional characters, and bytes of names that are not text (lone surrogates).
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
