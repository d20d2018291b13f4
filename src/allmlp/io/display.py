"""How data errors write names: safe on a terminal, on one line, and never a flood."""

from collections.abc import Callable, Iterable

__all__ = ["Report", "bullets", "escape", "summarise"]

Report = Callable[[str], None]
"""Takes a line for people: a note, a warning, what was chosen."""


def escape(name: object) -> str:
    """Return `name` on one honest line: control, bidirectional and undecodable characters are escaped."""
    text = str(name)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def summarise(names: Iterable[object], *, limit: int = 10) -> str:
    """Return "a, b, c and 4 more" with at most `limit` names."""
    shown = [escape(name) for name in names]
    if len(shown) <= limit:
        return ", ".join(shown)
    return ", ".join(shown[:limit]) + f" and {len(shown) - limit:,} more"


def bullets(lines: Iterable[str], *, limit: int = 50) -> str:
    """Return one indented line for each of the first `limit` lines, and a last one that counts the others."""
    shown = list(lines)
    rest = [f"... and {len(shown) - limit:,} more"] if len(shown) > limit else []
    return "\n".join("  " + line for line in shown[:limit] + rest)
