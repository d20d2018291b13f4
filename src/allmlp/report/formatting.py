"""Formatting of numbers and names, the same everywhere on a page."""

import math
import unicodedata

from allmlp.io.display import duration as plain_duration

__all__ = ["count", "duration", "number", "percent", "show_controls"]

JOINERS = "\u200c\u200d"  # needed in Arabic, Indic and emoji text, and unable to reorder it


def show_controls(value: object) -> str:
    """Return `value` as text in which control, bidirectional and undecodable characters are written as escapes.

    Unlike `io.display.escape`, it keeps spaces and joiners, which a page renders correctly. HTML is escaped by Jinja.
    """
    text = str(value)
    if text.isprintable():  # a shortcut, because the pictures of a page are data URIs of up to a megabyte
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    # Cc: controls, Cf: bidirectional overrides, Cs: lone surrogates from file names that are not UTF-8.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in JOINERS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def percent(fraction: float) -> str:
    """Return 0.6724 as "67.2 %", with a non-breaking space."""
    return f"{100 * fraction:.1f}\u00a0%" if math.isfinite(fraction) else "–"


def count(amount: int) -> str:
    """Return 50000 as "50,000"."""
    return f"{amount:,}"


def number(value: float, digits: int = 3) -> str:
    """Return a number with `digits` decimals, and "–" for NaN or infinity."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """Return 252 as "4 min 12 s", with non-breaking spaces."""
    return plain_duration(seconds).replace(" ", "\u00a0")
