"""Table of likely label errors, one row per photo, in which a user writes what to do with each."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from allmlp.errors import DataError
from allmlp.io.atomic_write import write_bytes
from allmlp.io.display import bullets, escape, quote
from allmlp.io.path_problem import check_regular

__all__ = ["ACTIONS", "CHOICE_COLUMNS", "Choice", "LabelError", "read_choices", "write_label_errors"]

CHOICE_COLUMNS = ("path", "given", "predicted", "score", "action")
ACTIONS = ("keep", "move", "delete")
_MAX_BYTES = 1 << 28


class LabelError(NamedTuple):
    """A photo whose label is probably wrong.

    `path` is below the folder of photos, or says where the photo is in a file of several. `score` is the normalized margin,
    in -1..1: the probability of the given class minus the largest other one.
    """

    path: str
    given: str
    predicted: str
    score: float
    given_probability: float
    predicted_probability: float


class Choice(NamedTuple):
    """What a user wants to be done with a photo: "move" it to class `to`, or "delete" it."""

    line: int
    path: str
    action: str
    to: str


def write_label_errors(path: Path, errors: Iterable[LabelError]) -> Path:
    """Write the table as CSV, with an empty column "action".

    Raises:
        ConfigError: the disk is full or the folder is not writable.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CHOICE_COLUMNS)
    table.writerows((error.path, error.given, error.predicted, f"{error.score:.6f}", "") for error in errors)
    return write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))


def read_choices(path: Path) -> list[Choice]:
    """Return the rows of a table that ask for something; those whose action is empty or "keep" ask for nothing.

    A photo is moved to the class in the column "to" if there is one, and else to the predicted class. The table may be what a
    spreadsheet saved: with semicolons, more columns, or a byte-order mark.

    Raises:
        DataError: the file cannot be read, lacks a column, has an unknown action, or names a photo twice.
    """
    rows = _read_rows(path)
    problems, choices, seen = [], [], set()
    for line, row in rows:
        action = row["action"].strip().casefold()
        to = (row.get("to") or "").strip() or row["predicted"]
        if action not in ("", *ACTIONS):
            problems.append(
                f"line {line:,}: unknown action {quote(row['action'])}; expected {', '.join(ACTIONS)}, or nothing"
            )
        elif row["path"] in seen:
            problems.append(f"line {line:,}: {escape(row['path'])} is named twice; keep one of the lines")
        elif action not in ("", "keep"):
            choices.append(Choice(line, row["path"], action, to))
        seen.add(row["path"])
    if problems:
        raise DataError(f"{escape(path)}: nothing was moved:\n{bullets(problems)}")
    return choices


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        check_regular(path)
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES:,} bytes")
        text = path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        header = text.partition("\n")[0]
        delimiter = ";" if ";" in header and "," not in header else ","
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        missing = [name for name in ("path", "predicted", "action") if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"its first line has no column {' or '.join(missing)}")
        rows = [(reader.line_num, row) for row in reader]
        if broken := [line for line, row in rows if None in row or None in row.values()]:
            raise ValueError(f"line {broken[0]:,} has more or fewer cells than the first line")
    except (OSError, ValueError, csv.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise DataError(
            f"{escape(path)}: cannot be read as a table of label errors ({reason}). Use the CSV that `allmlp clean` or its "
            "page wrote, with an action (move or delete) in the column action."
        ) from error
    return rows
