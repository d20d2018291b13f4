"""`open_dataset`, which opens a folder, a zip, Parquet, tar shards, a CSV table or a named data set as an `ImageDataset`."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allmlp.data.completeness import count_notes, part_notes
from allmlp.data.dataset import ImageDataset
from allmlp.data.decoding.limits import max_megapixels_words
from allmlp.data.public.registry import DATASETS, is_public_name, open_public
from allmlp.data.sources.csv_table import open_table
from allmlp.data.sources.folder import list_folder, open_folder
from allmlp.data.sources.folder_layout import LAYOUTS, FolderOptions, is_hidden, is_photo_name
from allmlp.data.sources.parquet import open_parquet
from allmlp.data.sources.parquet_files import find_parquet
from allmlp.data.sources.tar_shards.opening_shards import open_remote_shards, open_shards
from allmlp.data.sources.tar_shards.shard_files import shards_in
from allmlp.data.sources.zip_folder import is_part_of_zip, open_zip
from allmlp.errors import DataError
from allmlp.io.display import escape, quote, shorten, summarise
from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file
from allmlp.io.path_problem import path_advice, path_text
from allmlp.io.remote_address import ADDRESS_ADVICE, is_remote

__all__ = ["command_options", "open_dataset"]


def open_dataset(
    source: str | Path, *, classes_from: str | None = None, split_folders: Mapping[str, str] | None = None
) -> ImageDataset:
    """Open a named data set of `DATASETS`, or a path with one of the `LAYOUTS`.

    A name must be a str; a local folder of the same name is "./name". Named data sets are read from the folder ALLMLP_DATA
    (default: "datasets" in allmlp's cache folder), or from FOLDER if given as "name:FOLDER". They are not
    downloaded; see `download_dataset`. Only names, labels and paths are read; `check_photos` checks that every photo decodes.

    Args:
        source: the name or the path; for tar shards, also the address of their folder, such as "s3://bucket/flowers/".
        classes_from: the folder in a folder or zip whose sub-folders are the classes, whatever their names; "." is the top.
        split_folders: the folder of each split, such as {"train": "Training", "test": "Testing"}. Without these two options,
            the names and contents of the folders decide.

    Raises:
        DataError: the path does not exist, the layout is unknown, labels or classes are invalid, or folders may be splits or
            classes.
        ConfigError: invalid options.
        MissingExtraError: a library for the storage at an address is not installed.
    """
    options = FolderOptions(classes_from, split_folders)
    dataset = _open(source, options)
    if options.given and not dataset.options:
        raise DataError(
            f"{escape(source)}: --classes-from and --split-folders are for folders and zips of photos; omit them here."
        )
    return dataset


def command_options(options: Mapping[str, Any]) -> list[str]:
    """Return the `options` of an `ImageDataset` and a changed limit of pixels, as a command takes them after its source."""
    words = max_megapixels_words()
    for name, value in options.items():
        text = value if isinstance(value, str) else ",".join(f"{split}={folder}" for split, folder in value.items())
        words += [f"--{name.replace('_', '-')}", text]
    return words


def _open(source: str | Path, options: FolderOptions) -> ImageDataset:
    if isinstance(source, str) and is_public_name(source):
        return open_public(source)
    text = path_text(source)
    if text is None:
        raise DataError(f"The data set is {quote(source)}; expected a path or a name: {', '.join(DATASETS)}.")
    if not text:  # Path("") is the current folder
        raise DataError(
            "The name of the data set is empty; a shell variable may be unset. Expected a path "
            f"(. is the current folder) or a named data set: {', '.join(DATASETS)}."
        )
    if is_remote(text):
        return open_remote_shards(text)
    path = Path(text)
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as error:  # the name is too long, or a parent folder is not accessible
        raise DataError(f"{shorten(escape(path), 300)}: cannot be read ({error.strerror or error}).") from error
    if not exists:
        raise DataError(_not_found(text))
    if is_folder:
        dataset = _open_folder(path, options)
        notes = (*dataset.notes, *part_notes(path, "folder"), *count_notes(path, dataset))
        return dataclasses.replace(dataset, source=_path_text(path), notes=notes, folder=path)
    if not path.is_file():
        raise DataError(f"{escape(path)}: this is neither a file nor a folder.\n{LAYOUTS}")
    dataset = _open_file(path, options)
    return dataclasses.replace(dataset, source=_path_text(path), notes=(*dataset.notes, *part_notes(path, "file")))


def _path_text(path: Path) -> str:
    """Return a path as text. The "./" that Path drops is restored if the text would otherwise be a named data set."""
    return f".{os.sep}{path}" if is_public_name(str(path)) else str(path)


def _open_folder(path: Path, options: FolderOptions) -> ImageDataset:
    """Open the Parquet files in a folder or its sub-folders (Hugging Face repositories have data/), or else its photos."""
    if files := _parquet_files(path):
        return open_parquet(str(path), path, files)
    listing = list_folder(path)
    if shards := shards_in(path, listing):
        left_out = [name for name in listing.photos if "/" not in name]
        notes = [f"left out next to the shards: {summarise(left_out)}"] if left_out else []
        return open_shards(str(path), path, shards, notes)
    if options == FolderOptions():
        try:
            found = find_parquet(listing.ignored, has_photos=bool(listing.photos))
        except DataError as error:
            raise DataError(f"{escape(path)}: {error}.") from error
        if found:
            left_out = sorted({name.partition("/")[0] for name in listing.photos})
            notes = [f"left out next to the Parquet files: {summarise(left_out)}"] if left_out else []
            return open_parquet(str(path), path, [path / name for name in found], notes)
    return dataclasses.replace(open_folder(path, listing, options), options=options.given)


def _open_file(path: Path, options: FolderOptions) -> ImageDataset:
    try:
        with path.open("rb") as file:
            kind = kind_of_file(file.read(START_BYTES))
    except OSError as error:
        raise DataError(f"{escape(path)}: cannot be read ({error.strerror or error}).") from error
    suffix = path.suffix.lower()
    if kind is FileKind.PARQUET or suffix == ".parquet":
        return open_parquet(str(path), None, [path])
    if kind is FileKind.ZIP or suffix == ".zip" or is_part_of_zip(path.name):
        return dataclasses.replace(open_zip(path, options), options=options.given)
    if suffix == ".csv":
        return open_table(path)
    if kind is FileKind.TAR:
        return open_shards(str(path), path.parent, [path.name], is_single=True)
    what = "a single photo" if is_photo_name(path.name) else "not a known kind of data set"
    raise DataError(f"{escape(path)}: this is {what}.\n{LAYOUTS}")


def _parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files directly in a folder."""
    try:
        entries = [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
        return sorted(entry for entry in entries if entry.suffix.lower() == ".parquet" and entry.is_file())
    except OSError as error:
        raise DataError(f"{escape(folder)}: this folder cannot be read ({error.strerror or error}).") from error


def _not_found(source: str) -> str:
    shown = shorten(escape(source), 300)
    if source.startswith(("hf:", "hf-hub:", "hf_hub:")):
        return (
            f"{shown}: data sets of the Hugging Face Hub are not read from there. Download its Parquet files first "
            "(hf download --repo-type dataset), and give their folder."
        )
    advice = path_advice(source, DATASETS)
    if advice == ADDRESS_ADVICE:
        advice = f"{ADDRESS_ADVICE} Only folders of tar shards are read from an address, which then ends with a slash."
    else:
        advice = f"{advice} Named data sets: {', '.join(DATASETS)}.".lstrip()
    return f"{shown}: there is no such file or folder. {advice}"
