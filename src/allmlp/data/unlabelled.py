"""Photos without labels: the files that a source names, or numbered photos inside one file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from allmlp.data.sources.csv_table import paths_in_table
from allmlp.data.sources.parquet import open_parquet_photos
from allmlp.data.sources.tar_shards.stored_photos import TarPhoto, TarPhotos, stored_photos
from allmlp.data.sources.zip_folder import is_part_of_zip, open_zip_photos
from allmlp.errors import DataError
from allmlp.io.display import escape
from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file
from allmlp.io.remote_address import is_remote

__all__ = ["NumberedPhotos", "listed_files", "open_numbered_photos"]


class NumberedReader(Protocol):
    """Reads photos by their numbers, from 0."""

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of a photo. Raises DataError, naming it, if they are missing or damaged."""
        ...


@dataclass(frozen=True, eq=False)
class NumberedPhotos:
    """The photos inside one file; photo i of `reader`, from 0, is named `names[i]` in messages and results."""

    reader: NumberedReader
    names: Sequence[str]


def open_numbered_photos(
    path: str | Path, *, shown: str | Path | None = None, compare: bool = True
) -> NumberedPhotos | None:
    """Open a file that holds many photos, a zip, a tar or a Parquet file, in an order that depends on the file alone.

    A tar shard may be at an address; `compare` is that of `stored_photos`. None for any other file. Only names are read; there
    need not be labels. `shown` is the path of the file in the names, if that is another one.

    Raises:
        DataError: the file cannot be read, or is not complete.
    """
    if is_remote(path):
        return _numbered(stored_photos(path), path)
    path = Path(path)
    shown = path if shown is None else Path(shown)
    kind = _kind(path)
    suffix = path.suffix.lower()
    if kind is FileKind.PARQUET or suffix == ".parquet":
        parquet = open_parquet_photos(path)
        named = replace(parquet, files=(shown,))
        return NumberedPhotos(parquet, [named.where(index) for index in range(len(parquet.rows))])
    if kind is FileKind.ZIP or suffix == ".zip" or is_part_of_zip(path.name):
        members = open_zip_photos(path)
        return NumberedPhotos(members, [f"{shown}: {name}" for name in members.names])
    return _numbered(stored_photos(path, compare=compare), shown) if suffix == ".tar" else None


def _numbered(photos: Sequence[TarPhoto] | None, shown: str | Path) -> NumberedPhotos | None:
    return None if photos is None else NumberedPhotos(TarPhotos(photos), [photo.named(shown) for photo in photos])


def listed_files(table: Path) -> list[str]:
    """Return the paths of the photos that a CSV file lists in its column path; some may be missing.

    Raises:
        DataError: not a table with paths.
    """
    return [os.path.join(table.parent, path) for path in paths_in_table(table)]  # noqa: PTH118 - as they are written


def _kind(path: Path) -> FileKind | None:
    try:
        with path.open("rb") as file:
            return kind_of_file(file.read(START_BYTES))
    except OSError as error:
        raise DataError(f"{escape(path)}: cannot be read ({error.strerror or error}).") from error
