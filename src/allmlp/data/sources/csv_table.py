"""Data sets given as a CSV table of paths and labels."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from allmlp.data.dataset import ImageDataset, SplitName
from allmlp.data.sources.assemble import FoundSplit, assemble, raise_problems
from allmlp.data.sources.file_reader import FileReader
from allmlp.data.sources.table_paths import PathFinder
from allmlp.data.split_names import split_named
from allmlp.errors import DataError
from allmlp.io.display import escape, quote, shorten, summarise

__all__ = ["open_table", "paths_in_table"]

_COLUMNS = ("path", "label", "split")
_QUOTES = ('""', "''", "``", '\\"', "“”", "„“", "‘’", "‚‘", "«»")  # the first character and the last
_NO_LABELS = ("", "-1")  # of test photos whose labels are not public


class _Row(NamedTuple):
    number: int  # as in a spreadsheet: the header is row 1
    path: str
    label: str
    split: str | None


class _Problems:
    """Problems of rows: rows that fail alike share a line."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[int, str]]] = {}

    def add(self, number: int, problem: str, what: str = "") -> None:
        """Add the problem of a row; `what` is the value it is about."""
        self._rows.setdefault(problem, []).append((number, what))

    def lines(self) -> list[str]:
        """Return one line per problem, with the numbers of its rows."""
        return [_line(problem, rows) for problem, rows in self._rows.items()]


def _line(problem: str, rows: Sequence[tuple[int, str]]) -> str:
    values = list(dict.fromkeys(shorten(escape(what), 120) for _, what in rows if what))
    if len(rows) == 1:
        return f"row {rows[0][0]}: {''.join(f'{value}: ' for value in values)}{problem}"
    about = f" ({summarise(values, limit=3)})" if values else ""
    return f"{len(rows):,} rows: {problem}{about}; rows {summarise((number for number, _ in rows), limit=5)}"


def open_table(table: Path) -> ImageDataset:
    """Open a CSV table with the columns path, label and optionally split; paths are relative to the table's folder.

    A validation or test split whose labels are all empty or -1 is left out with a note.

    Raises:
        DataError: missing or invalid columns, cells or files; all are reported, with their row numbers.
    """
    problems = _Problems()
    finder = PathFinder(table.parent)
    left_out: dict[SplitName, str] = {}
    splits: dict[SplitName, list[_Row]] = {}
    for row in _rows(table, problems):
        split = "train" if row.split is None else split_named(row.split)
        if split is None:
            expected = "expected train, validation (or val, valid, dev) or test"
            problems.add(row.number, f"the split is {quote(row.split)}; {expected}")
        else:
            splits.setdefault(split, []).append(row)
    for split in [split for split in splits if split != "train" and "train" in splits]:
        if all(row.label in _NO_LABELS for row in splits[split]) and len({row.label for row in splits[split]}) == 1:
            left_out[split] = "its labels are all empty or -1"
            del splits[split]
    notes = [f"the {split} split is left out: {reason}" for split, reason in left_out.items()]
    used = sorted((row for rows in splits.values() for row in rows), key=lambda row: row.number)
    found = {row.number: finder.find(row.path) for row in used if _is_sound(row, finder, problems)}
    lines = [*problems.lines(), *finder.repeated(found)]
    if not used and not lines:
        lines.append("there are no rows below the header")
    raise_problems(str(table), lines, [*notes, *finder.hints()])
    members = {split: _found(table.parent, rows, found) for split, rows in splits.items()}
    return assemble(str(table), members, {row.label for row in used}, notes, left_out=left_out)


def paths_in_table(table: Path) -> list[str]:
    """Return the paths in a CSV table with a column path, whatever its other columns are; relative to the table's folder.

    Photos are looked for as `open_table` does, but may be missing.

    Raises:
        DataError: not a table, no column path, or rows with an empty path or another number of cells.
    """
    problems = _Problems()
    finder = PathFinder(table.parent)
    paths = []
    for row in _rows(table, problems, needed=("path",)):
        if row.path:
            paths.append(finder.find(row.path))
        else:
            problems.add(row.number, "the path is empty")
    lines = problems.lines()
    if not paths and not lines:
        lines.append("there are no rows below the header")
    raise_problems(str(table), lines)
    return paths


def _found(folder: Path, rows: Sequence[_Row], found: dict[int, str]) -> FoundSplit:
    paths = tuple(found[row.number] for row in rows)
    return FoundSplit([row.path for row in rows], [row.label for row in rows], FileReader(folder, paths))


def _rows(table: Path, problems: _Problems, needed: Sequence[str] = ("path", "label")) -> Iterator[_Row]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            columns = _columns(table, next(reader, []), needed)
            for number, cells in enumerate(reader, start=2):
                if not any(cells):
                    continue  # an empty line
                if any("\0" in cell for cell in cells):
                    problems.add(number, "contains a NUL character; save the table as plain UTF-8 text")
                elif len(cells) != columns.width:
                    problems.add(number, f"has {len(cells)} cells; the header has {columns.width}")
                else:
                    split = None if columns.split is None else cells[columns.split].strip()
                    label = "" if columns.label is None else cells[columns.label].strip()
                    yield _Row(number, cells[columns.path].strip(), label, split)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{escape(table)}: this is not UTF-8 text ({error.reason}). Save the table as UTF-8."
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{escape(table)}: line {reader.line_num} cannot be read as CSV ({error}). Check its quotation marks."
        ) from error
    except OSError as error:
        raise DataError(f"{escape(table)}: cannot be read ({error.strerror or error}).") from error


class _Columns(NamedTuple):
    path: int
    label: int | None
    split: int | None
    width: int


def _columns(table: Path, header: Sequence[str], needed: Sequence[str]) -> _Columns:
    names = [name.strip().lower() for name in header]
    missing = [name for name in needed if name not in names]
    repeated = [name for name in _COLUMNS if names.count(name) > 1]
    if missing or repeated:
        noun = "column" if len(missing) == 1 else "columns"
        problem = f"missing {noun}: {', '.join(missing)}" if missing else f"column {repeated[0]} occurs twice"
        raise DataError(
            f"{escape(table)}: {problem}; the first line is {quote(','.join(header), limit=200)}. "
            "Expected the first line path,label or path,label,split, separated by commas."
        )
    label, split = (names.index(name) if name in names else None for name in ("label", "split"))
    return _Columns(names.index("path"), label, split, len(names))


def _is_sound(row: _Row, finder: PathFinder, problems: _Problems) -> bool:
    """Return whether a row can be used; else add its problem."""
    if not row.path:
        problems.add(row.number, "the path is empty")
    elif not row.label:
        problems.add(row.number, "the label is empty", row.path)
    elif any(len(cell) > 1 and cell[0] + cell[-1] in _QUOTES for cell in (row.path, row.label)):
        quoted = 'quotation marks are part of the cell; remove the blanks around them, or quote cells with "'
        problems.add(row.number, quoted, row.path)
    elif problem := finder.problem(row.path):
        problems.add(row.number, problem, row.path)
    else:
        return True
    return False
