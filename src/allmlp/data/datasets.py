"""The one way in: a folder, a zip, Parquet, a CSV or a named data set becomes an `ImageDataset`."""

import contextlib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

from allmlp.data.archive import open_zip
from allmlp.data.folder import open_folder
from allmlp.data.layout import LAYOUTS, is_hidden, is_photo_name
from allmlp.data.parquet import open_parquet
from allmlp.data.splits import ImageDataset, Split, hold_out
from allmlp.data.table import open_table
from allmlp.data.wording import printable
from allmlp.errors import DataError, did_you_mean

__all__ = ["DATASETS", "ImageDataset", "Split", "hold_out", "open_dataset"]


def _clothing() -> ImageDataset:
    """Clothing photos of 10 kinds, 64 x 64: train 1,000, test 372. CC0; see samples/clothing/README.md."""
    folder = Path(str(resources.files("allmlp.data"))) / "samples" / "clothing"
    return open_parquet("clothing", [folder / "train.parquet", folder / "test.parquet"])


# Of a member, of the end of an empty zip, of one part of several. "PK" alone may be the first column of a table.
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")

DATASETS: Mapping[str, Callable[[], ImageDataset]] = {"clothing": _clothing}


def open_dataset(source: str | Path) -> ImageDataset:
    """Open a name of `DATASETS` (given as text; a folder of that name is "./name"), or a path of any layout in `LAYOUTS`.

    Only names, labels and paths are read: use `check_photos` to know that every photo decodes.

    Raises:
        DataError: nothing there, no layout that is known, or labels and classes that cannot be used.
    """
    if isinstance(source, str) and source in DATASETS:
        return DATASETS[source]()
    if not str(source):  # to Path, this is the current folder
        raise DataError(
            "the data set's name is empty: a variable of the shell may not be set. Expected a path "
            f"(. is the current folder) or a named data set: {', '.join(DATASETS)}."
        )
    path = Path(source)
    try:
        is_there, is_folder = path.exists(), path.is_dir()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise DataError(f"{printable(path)}: cannot be read ({error.strerror or error}).") from error
    if not is_there:
        raise DataError(_not_found(path))
    if is_folder:
        files = _parquet_files(path)
        return open_parquet(str(path), files) if files else open_folder(path)
    if not path.is_file():
        raise DataError(f"{printable(path)}: this is neither a file nor a folder.\n{LAYOUTS}")
    return _open_file(path)


def _open_file(path: Path) -> ImageDataset:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise DataError(f"{printable(path)}: cannot be read ({error.strerror or error}).") from error
    suffix = path.suffix.lower()
    if start == b"PAR1" or suffix == ".parquet":
        return open_parquet(str(path), [path])
    if start in _ZIP_STARTS or suffix == ".zip":
        return open_zip(path)
    if suffix == ".csv":
        return open_table(path)
    what = "a single photo" if is_photo_name(path.name) else "no kind of data set that is known"
    raise DataError(f"{printable(path)}: this is {what}.\n{LAYOUTS}")


def _parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files in a folder, or in the only folder in it (Hugging Face repositories have data/)."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))
        files = [entry for entry in entries if entry.suffix.lower() == ".parquet" and entry.is_file()]
        inner = [entry for entry in entries if entry.is_dir()]
        if not files and len(inner) == 1:
            files = [entry for entry in sorted(inner[0].glob("*.parquet")) if not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"{printable(folder)}: this folder cannot be read ({error.strerror or error}).") from error
    return files


def _not_found(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir():
        path, parent = parent, parent.parent
    known = list(DATASETS)
    with contextlib.suppress(OSError):
        known += [entry.name for entry in parent.iterdir()]
    near = did_you_mean(path.name, known)
    return (
        f"{printable(path)}: there is no such file or folder.{printable(near)} Named data sets: {', '.join(DATASETS)}."
    )
