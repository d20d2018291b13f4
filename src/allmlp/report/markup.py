"""HTML from values: everything that is not ours is escaped here, and numbers read the same everywhere."""

import base64
import html
import io
import math
import unicodedata

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["card", "count", "duration", "escape", "number", "percent", "photo_uri", "png_uri", "text"]

THUMBNAIL_SIDE = 160
LOSSLESS_SIDE = 64
JOINERS = "\u200c\u200d"  # they shape Arabic, Indic and emoji text, and cannot reorder it


def escape(value: object) -> str:
    """Return `value` as text in which no character can break the page or reorder it: such are shown as escapes."""
    return "".join(_visible(character) for character in str(value))


def text(value: object) -> str:
    """Return `value` escaped for HTML, in an element and in a quoted attribute alike."""
    return html.escape(escape(value), quote=True)


def _visible(character: str) -> str:
    # Cc controls, Cf bidi overrides, Cs halves of surrogates from file names that are not UTF-8.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in JOINERS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def percent(fraction: float) -> str:
    """Return 0.6724 as "67.2 %", with a space that does not break."""
    return f"{100 * fraction:.1f}\u00a0%" if math.isfinite(fraction) else "–"


def count(amount: int) -> str:
    """Return 50000 as "50,000"."""
    return f"{amount:,}"


def number(value: float, *, digits: int = 3) -> str:
    """Return a number with `digits` decimals, and "–" where there is none."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """Return 252 as "4 min 12 s"."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f}\u00a0s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}\u00a0s"
    if whole < 3600:
        return f"{whole // 60}\u00a0min {whole % 60:02d}\u00a0s"
    return f"{whole // 3600}\u00a0h {whole % 3600 // 60:02d}\u00a0min"


def card(title: str, body: str, *, identifier: str, note: str = "") -> str:
    """Return a section of the page; `title` is ours, `body` and `note` are HTML."""
    lead = f'<p class="note">{note}</p>' if note else ""
    return f'<section class="card" id="{identifier}"><h2>{title}</h2>{lead}{body}</section>'


def png_uri(content: bytes) -> str:
    """Return a PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def photo_uri(photo: NDArray[np.uint8]) -> str:
    """Return a photo (H, W, 3) as a data URI, not larger than a thumbnail: a page of 70 photos stays below 1 MB."""
    image = Image.fromarray(np.ascontiguousarray(photo, dtype=np.uint8))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if max(image.size) <= LOSSLESS_SIDE:  # JPEG's blocks would show when these are enlarged
        image.save(file, format="PNG", optimize=True)
        return png_uri(file.getvalue())
    image.save(file, format="JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
