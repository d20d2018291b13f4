"""Data sets given as a CSV table of paths and labels."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from allmlp.data.dataset import ImageDataset, SplitName, split_named
from allmlp.data.sources.assemble import FoundSplit, assemble, class_difference_problems, raise_problems
from allmlp.data.sources.file_reader import FileReader, file_problem
from allmlp.errors import DataError
from allmlp.io.display import escape, summarise

__all__ = ["open_table"]

_COLUMNS = ("path", "label", "split")


class _Row(NamedTuple):
    number: int  # as in a spreadsheet: the header is row 1
    path: str
    label: str
    split: str | None


def open_table(table: Path) -> ImageDataset:
    """Open a CSV table with the columns path, label and optionally split; paths are relative to the table's folder.

    Raises:
        DataError: missing or invalid columns, cells or files; all are reported, with their row numbers.
    """
    rows: list[_Row] = []
    problems: list[str] = []
    for row in _rows(table, problems):
        problem = _row_problem(row, table.parent)
        if problem:
            problems.append(f"row {row.number}: {problem}")
        else:
            rows.append(row)
    problems += _repeated_photos(rows)
    splits: dict[SplitName, list[_Row]] = {}
    for row in rows:
        splits.setdefault((split_named(row.split) if row.split is not None else None) or "train", []).append(row)
    if not problems:
        problems += class_difference_problems({split: {row.label for row in splits[split]} for split in splits})
    if not rows and not problems:
        problems.append("there are no rows below the header")
    raise_problems(str(table), problems)
    found = {split: _found(table.parent, members) for split, members in splits.items()}
    return assemble(str(table), found, {row.label for row in rows})


def _found(folder: Path, rows: Sequence[_Row]) -> FoundSplit:
    paths = tuple(_local_path(folder, row.path) for row in rows)
    return FoundSplit([row.path for row in rows], [row.label for row in rows], FileReader(folder, paths))


def _rows(table: Path, problems: list[str]) -> Iterator[_Row]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = _columns(table, next(reader, []))
            for number, cells in enumerate(reader, start=2):
                if not any(cells):
                    continue  # an empty line
                if any("\0" in cell for cell in cells):
                    problems.append(f"row {number}: contains a NUL character; save the table as plain UTF-8 text")
                elif len(cells) != columns.width:
                    problems.append(f"row {number}: has {len(cells)} cells; the header has {columns.width}")
                else:
                    split = None if columns.split is None else cells[columns.split].strip()
                    yield _Row(number, cells[columns.path].strip(), cells[columns.label].strip(), split)
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
    label: int
    split: int | None
    width: int


def _columns(table: Path, header: Sequence[str]) -> _Columns:
    names = [name.strip().lower() for name in header]
    missing = [name for name in ("path", "label") if name not in names]
    repeated = [name for name in _COLUMNS if names.count(name) > 1]
    if missing or repeated:
        noun = "column" if len(missing) == 1 else "columns"
        problem = f"missing {noun}: {', '.join(missing)}" if missing else f"column {repeated[0]} occurs twice"
        raise DataError(
            f"{escape(table)}: {problem}; the first line is {escape(','.join(header))[:200]!r}. "
            "Expected the first line path,label or path,label,split, separated by commas."
        )
    split = names.index("split") if "split" in names else None
    return _Columns(names.index("path"), names.index("label"), split, len(names))


def _row_problem(row: _Row, folder: Path) -> str:
    if not row.path:
        return "the path is empty"
    if not row.label:
        return f"the label of {escape(row.path)} is empty"
    if row.split is not None and split_named(row.split) is None:
        return f"the split is '{escape(row.split)}'; expected train, validation (or val, valid) or test"
    problem = file_problem(folder / _local_path(folder, row.path))
    return f"{escape(row.path)}: {problem}" if problem else ""


def _local_path(folder: Path, path: str) -> str:
    # A table written on Windows has backslashes, which are separators unless a file with that literal name exists.
    if "\\" not in path or os.path.exists(folder / path):  # noqa: PTH110 - Path.exists raises if a name is too long
        return path
    return path.replace("\\", "/")


def _repeated_photos(rows: Sequence[_Row]) -> list[str]:
    """Return one problem per photo listed twice: a copy in another split or class would distort the results."""
    first: dict[str, int] = {}
    repeats: dict[str, list[int]] = {}
    for row in rows:
        path = os.path.normpath(row.path.replace("\\", "/"))
        if path in first:
            repeats.setdefault(path, [first[path]]).append(row.number)
        else:
            first[path] = row.number
    return [f"rows {summarise(numbers)} name the same photo, {escape(path)}" for path, numbers in repeats.items()]
