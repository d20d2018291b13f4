"""Text for people: names, values and small tables on printable lines, and callbacks that receive them."""

import base64
import html
import math
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Progress",
    "Report",
    "bullets",
    "console",
    "counted",
    "discard",
    "duration",
    "escape",
    "escape_lines",
    "file_size",
    "fill",
    "filled",
    "html_table",
    "no_progress",
    "quote",
    "shorten",
    "summarise",
    "terminal_width",
    "utf8",
]

Report = Callable[[str], None]
"""Callback that takes one line for the user: a note, a warning, a choice that was made."""

Progress = Callable[[int, int], None]
"""Callback that takes the number of items done and their total."""


def no_progress(done: int, total: int) -> None:
    """Show nothing: the `Progress` of callers that show none."""


def discard(line: str) -> None:
    """Report nothing: the `Report` of callers that show no notes."""


def console() -> "Console":
    """Return a rich console that neither wraps lines nor interprets markup: `[red]` in a file name stays text."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def escape(name: object) -> str:
    """Return `name` on one printable line: control, bidirectional and undecodable characters are escaped."""
    text = str(name)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def escape_lines(text: str) -> str:
    """Escape each line of a text that is meant to have several; names in it must have been escaped before."""
    return "\n".join(map(escape, text.split("\n")))


def counted(number: float, noun: str, plural: str = "") -> str:
    """Return a count with its noun: "1 epoch", "1,000 epochs"; `plural` is that of an irregular noun."""
    return f"{number:,.10g} {noun if number == 1 else plural or f'{noun}s'}"


def shorten(text: str, limit: int) -> str:
    """Return `text`, cut to `limit` characters that end in "..." if it is longer."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def quote(value: object, *, limit: int = 80) -> str:
    """Return `repr(value)`, escaped and cut to `limit` characters.

    An integer with too many digits for Python to print is described in words.
    """
    if isinstance(value, str) and len(value) > limit:
        value = value[:limit]  # still cut below: its quotes make it longer than the limit
    try:
        return shorten(escape(repr(value)), limit)
    except ValueError:
        return "a number of thousands of digits"


def summarise(names: Iterable[object], *, limit: int = 10) -> str:
    """Return "a, b, c and 4 more" with at most `limit` names, escaped; "" if there are none."""
    shown = [escape(name) for name in names]
    if len(shown) <= limit:
        return ", ".join(shown)
    return ", ".join(shown[:limit]) + f" and {len(shown) - limit:,} more"


def utf8(name: str) -> str:
    """Return `name` as text that UTF-8 can hold: undecodable bytes of a file name become escapes such as "\\udcff"."""
    return name.encode("utf-8", "backslashreplace").decode()


def file_size(num_bytes: int) -> str:
    """Return 340 as "340 bytes", 48_211 as "48 kB", 1_240_000 as "1.2 MB", 3_810_000_000 as "3.8 GB"."""
    if num_bytes < 1000:
        return counted(num_bytes, "byte")
    size, units = float(num_bytes), ["kB", "MB", "GB"]
    while True:
        size /= 1000
        unit = units.pop(0)
        shown = f"{size:.1f}" if size < 9.95 else f"{size:,.0f}"
        if not units or float(shown.replace(",", "")) < 1000:
            return f"{shown} {unit}"


def bullets(lines: Iterable[str], *, limit: int = 50) -> str:
    """Return the first `limit` lines, each indented, and a final line with the number of the rest."""
    shown = list(lines)
    rest = [f"... and {len(shown) - limit:,} more"] if len(shown) > limit else []
    return "\n".join("  " + line for line in shown[:limit] + rest)


def duration(seconds: float) -> str:
    """Return 9.5 as "9.5 s", 252 as "4 min 12 s", 3725 as "1 h 02 min", and NaN or infinity as "–"."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:  # above this, one decimal would round to 10.0
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def html_table(header: Sequence[str], rows: Sequence[Sequence[str | bytes]], *, footer: str = "") -> str:
    """Return a table as HTML, with `footer` below it. All text is escaped; a cell of bytes is a PNG or JPEG thumbnail."""
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    below = f"<p>{_text(footer)}</p>" if footer else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def _cell(cell: str | bytes) -> str:
    if isinstance(cell, str):
        return _text(cell)
    kind = "png" if cell.startswith(b"\x89PNG") else "jpeg"
    return (
        f'<img src="data:image/{kind};base64,{base64.b64encode(cell).decode("ascii")}" alt="" style="max-height:96px">'
    )


def _text(text: str) -> str:
    return html.escape(escape(text))


# What stays on one line: `code`, a command up to the end of the line or clause, started by name, by path (quoted if it has
# blanks) or with python -m, 'quoted names', and a number and its unit.
_UNIT = re.compile(
    r"`[^`]*`\S*"
    r"|(?:(?:'[^']*'|\S+) -m |'[^']*/|\S*/)?(?<![\w`])allmlp'? [a-z]+(?:(?<![:;,.)]) (?![ #(])\S+)*"
    r"|(?<!\w)'[^']*'(?!\w)\S*|\d[\d,.]* \S+|\S+"
)
_LABEL = re.compile(r"\w[\w-]* {2,}|warning |Error: | *(?:# |- )?")
_MIN_WIDTH = 20


def terminal_width(stream: TextIO | None) -> int | None:
    """Return the columns of the terminal that a stream writes to; None if it is not one."""
    return shutil.get_terminal_size().columns if stream is not None and stream.isatty() else None


def filled(text: str, stream: TextIO | None) -> str:
    """Return a text as `fill` does if the stream is a terminal, else unchanged, so that lines can be searched."""
    width = terminal_width(stream)
    return text if width is None else fill(text, width)


def fill(text: str, width: int) -> str:
    """Break the lines that are longer than `width` at blanks; what follows is indented as the text after a label is."""
    return "\n".join(_fill_line(line, max(width, _MIN_WIDTH)) for line in text.split("\n"))


def _fill_line(line: str, width: int) -> str:
    from rich.cells import cell_len

    if cell_len(line) <= width:
        return line
    label = _LABEL.match(line)
    assert label is not None  # it matches nothing, too
    indent = " " * (label.end() or 2)
    lines, current, end = [], line[: label.end()], label.end()
    is_empty = True
    for unit in _UNIT.finditer(line, label.end()):
        joined = current + line[end : unit.start()] + unit[0]
        if cell_len(joined) > width and not is_empty:
            lines.append(current)
            joined = indent + unit[0]
        current, end, is_empty = joined, unit.end(), False
    return "\n".join([*lines, current])
