"""How data errors write names: safe on a terminal, on one line, and never a flood."""

import math
from collections.abc import Iterable

__all__ = ["bullets", "duration", "escape", "summarise"]


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


def duration(seconds: float) -> str:
    """Return 9.5 as "9.5 s", 252 as "4 min 12 s", 3725 as "1 h 02 min", and NaN or infinity as "–"."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:  # from here on, one decimal would round to 10.0
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
