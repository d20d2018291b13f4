"""CSV tables of photos in a run folder: names that are not UTF-8, or have line breaks, are read back unchanged."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from allmlp.errors import ConfigError
from allmlp.io.atomic_write import write_bytes

__all__ = ["read_table", "write_table"]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a header and rows of the same length.

    Raises:
        ConfigError: the disk is full or the folder is not writable.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))


def read_table(path: Path, header: Sequence[str], *, what: str, advice: str) -> Iterator[list[str]]:
    """Yield the rows below the header; `what` says in messages what the file should be, and `advice` what to do.

    Raises:
        ConfigError: the file cannot be read, or is not a table with this header.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.reader(file, strict=True)
            if next(rows, None) != list(header):
                raise ValueError(f"its first line is not {','.join(header)}")
            for row in rows:
                if len(row) != len(header):
                    raise ValueError(f"line {rows.line_num} has {len(row)} cells instead of {len(header)}")
                yield row
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as {what} of a run ({error}). {advice}") from error
