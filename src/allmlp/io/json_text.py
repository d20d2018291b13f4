"""JSON for programs that people can read, too: umlauts as they are, and nothing that could control a terminal."""

import json
import sys
from typing import Any

__all__ = ["json_text"]


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
