"""Lines of a terminal: text is broken at blanks, never within a word, a quoted name or a command."""

import re
import shutil
from typing import TextIO

__all__ = ["fill", "filled", "terminal_width"]

# What stays on one line: `code`, 'quoted names', a number and its unit, and a command up to the end of the line or clause.
_UNIT = re.compile(
    r"`[^`]*`\S*|(?<!\w)'[^']*'(?!\w)\S*|(?:\S+ -m )?(?<![\w/`])allmlp [a-z]+(?:(?<![:;,.)]) (?![ #(])\S+)*|\d[\d,.]* \S+|\S+"
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
