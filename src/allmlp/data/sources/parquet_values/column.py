"""All values of a column of labels or paths."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from allmlp.data.sources.parquet_values.footer import Footer
from allmlp.data.sources.parquet_values.values import integers_of, texts_of

__all__ = ["read_column"]

_WIDTHS = {"INT32": 4, "INT64": 8}


def read_column(path: Path, footer: Footer, column: Sequence[str]) -> list[Any]:
    """Return a column's integers or strings, None where they are null. See `Footer.chunks` for `column`.

    Raises:
        ValueError, LookupError, OSError: damaged pages, or a text that is too long.
    """
    kind, is_signed = footer.stored_type(column)
    values: list[Any] = []
    with path.open("rb") as file:
        key = (path.absolute(), footer.state)
        for chunk in footer.chunks(column):
            if kind in _WIDTHS:
                values += integers_of(file, chunk, key, width=_WIDTHS[kind], is_signed=is_signed)
            else:
                values += texts_of(file, chunk, key)
    return values
