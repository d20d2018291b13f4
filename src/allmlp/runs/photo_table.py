"""CSV tables of photos in a run folder: names that are not UTF-8, or have line breaks, are read back unchanged."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from allmlp.errors import ConfigError
from allmlp.io.atomic_write import write_bytes
from allmlp.io.path_problem import check_regular

__all__ = ["read_table", "write_table"]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a header and rows of the same length.

    Raises:
        ConfigError: the disk is full or the folder is not writable.
    """
    text = "".join(map(_line, [header, *rows]))
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def _line(row: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(row)  # both line breaks are quoted only if they end the rows
    return text.getvalue().removesuffix("\r\n") + "\n"


def read_table(
    path: Path,
    header: Sequence[str],
    *,
    what: str,
    advice: str,
    is_valid: Callable[[list[str]], bool] = bool,
) -> Iterator[list[str]]:
    """Yield the rows below the header; `what` says in messages what the file should be, and `advice` what to do.

    `is_valid` returns whether the cells of a row, which has as many as the header, are what they should be.

    Raises:
        ConfigError: the file cannot be read, or is not a table with this header.
    """
    try:
        check_regular(path)
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.reader(file, strict=True)
            if next(rows, None) != list(header):
                raise ValueError(f"its first line is not {','.join(header)}")
            for row in rows:
                if len(row) != len(header) or row == list(header) or not is_valid(row):
                    raise ValueError(f"line {rows.line_num:,} is not {','.join(header)}")
                yield row
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as {what} of a run ({error}). {advice}") from error
