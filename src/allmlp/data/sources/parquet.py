"""Data sets given as Parquet files in the Hugging Face image convention: columns image (bytes, path) and label."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from allmlp.data.dataset import ImageDataset, SplitName
from allmlp.data.sources.assemble import FoundSplit, assemble, raise_problems
from allmlp.data.sources.parquet_columns import (
    NoLabelsError,
    class_names_of,
    features_of,
    image_and_label,
    image_column,
)
from allmlp.data.sources.parquet_files import parquet_splits, partial_notes
from allmlp.data.sources.parquet_values.column import read_column
from allmlp.data.sources.parquet_values.footer import read_footer
from allmlp.data.sources.parquet_values.guard import is_damage, parquet_reason
from allmlp.data.sources.parquet_values.pages import Chunk
from allmlp.data.sources.parquet_values.reader import ParquetReader
from allmlp.errors import DataError
from allmlp.io.display import escape, quote, summarise

__all__ = ["open_parquet", "open_parquet_photos"]

_NO_LABEL = -1  # of a test split whose labels are not public

# Without class names, labels are class numbers, and every lower number is a class, too. ImageNet-21k has 21,843.
_MAX_NUMBERED_CLASSES = 100_000


def open_parquet(source: str, root: Path | None, files: Sequence[Path], notes: Sequence[str] = ()) -> ImageDataset:
    """Open the Parquet files of the folder `root`, or a single file if it is None. Labels and paths are read, photos are not.

    A validation or test split without any label (-1, empty, or no such column) is left out with a note.

    Raises:
        DataError: incomplete Parquet files, columns that are missing or of another type, labels that are empty or out of
            range (rows are counted from 0 in each file), or class names that differ between files; all are reported.
    """
    splits = parquet_splits(root, files)
    tables: dict[Path, _Table] = {}
    problems: list[str] = []
    left_out: dict[SplitName, str] = {}
    for split, paths in splits.items():
        for path in paths:
            try:
                tables[path] = _read_table(path)
            except DataError as error:
                if isinstance(error, NoLabelsError) and split != "train" and "train" in splits:
                    left_out[split] = f"{escape(path.name)} has no column of labels"
                    continue
                problems.append(str(error) if root is None else f"{escape(path.name)}: {error}")
        if split != "train" and "train" in splits and all(map(_is_unlabelled, (tables.get(path) for path in paths))):
            left_out.setdefault(split, f"its labels are all empty or {_NO_LABEL}")
    raise_problems(source, problems, notes)
    notes = [*notes, *(f"the {split} split is left out: {reason}" for split, reason in left_out.items())]
    splits = {split: paths for split, paths in splits.items() if split not in left_out}
    tables = {path: tables[path] for paths in splits.values() for path in paths}
    names, problems, name_notes = _class_names(tables)
    notes += [*name_notes, *partial_notes(files)]
    raise_problems(source, problems, notes)
    found = {}
    for split, paths in splits.items():
        of_split = [tables[path] for path in paths]
        class_names = [names[label] if isinstance(label, int) else label for t in of_split for label in t.labels]
        found[split] = FoundSplit([path for t in of_split for path in t.paths], class_names, _reader(paths, of_split))
    used = {name for split in found.values() for name in split.class_names}
    return assemble(source, found, used | set(names), notes, left_out=left_out)


def _is_unlabelled(table: "_Table | None") -> bool:
    return table is None or all(label in (None, "", _NO_LABEL) for label in table.labels)


def _reader(files: Sequence[Path], tables: Sequence["_Table"]) -> ParquetReader:
    sizes = np.array([chunk.num_values for table in tables for chunk in table.chunks], dtype=np.int64)
    owners = np.array([number for number, table in enumerate(tables) for _ in table.chunks], dtype=np.int64)
    paths = tuple(path for table in tables for path in table.paths)
    chunks = tuple(chunk for table in tables for chunk in table.chunks)
    states = tuple(table.state for table in tables)
    rows = np.arange(len(paths), dtype=np.int64)
    return ParquetReader(tuple(files), states, chunks, owners, np.cumsum(sizes), rows, paths)


@dataclasses.dataclass(frozen=True)
class _Table:
    """What is read from a file when it is opened. Labels are numbers or names, None if empty; `names` are the declared ones.

    `chunks` hold the photos, and `state` is the file's.
    """

    labels: Sequence[Any]
    paths: Sequence[str | None]
    names: tuple[str, ...] | None
    chunks: tuple[Chunk, ...]
    state: tuple[int, int]


def open_parquet_photos(path: Path) -> ParquetReader:
    """Open one Parquet file as photos without labels, in the order of its rows. Paths are read if it has them, photos are not.

    Raises:
        DataError: an incomplete Parquet file, or no column of photos.
    """
    try:
        return _reader([path], [_read_table(path, has_labels=False)])
    except DataError as error:
        raise DataError(f"{escape(path)}: {error}.") from error


def _read_table(path: Path, *, has_labels: bool = True) -> _Table:
    """Read labels, paths and metadata. A DataError has neither path nor full stop: `raise_problems` adds them."""
    import pyarrow as pa

    try:
        footer = read_footer(path)
        features = features_of(footer.schema.metadata)
        label = ""
        if has_labels:
            image, label = image_and_label(footer.schema, features)
        else:
            image = image_column(footer.schema, features)
        image_type = footer.schema.field(image).type
        is_struct = pa.types.is_struct(image_type)
        photos = footer.chunks([image, "bytes"] if is_struct else [image])
        num_rows = sum(footer.group_rows)
        labels = read_column(path, footer, [label]) if has_labels else [None] * num_rows
        paths: Sequence[str | None] = [None] * num_rows
        if is_struct and image_type.get_field_index("path") >= 0:
            paths = [name or None for name in read_column(path, footer, [image, "path"])]
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file causes in pyarrow and here, and the lack of memory or files
        if is_damage(error):
            raise DataError(
                f"this is not a complete Parquet file ({parquet_reason(error)}); copy or download it again"
            ) from error
        raise DataError(f"this Parquet file cannot be read: {parquet_reason(error)}") from error
    return _Table(labels, paths, class_names_of(label, features.get(label, {})), photos, footer.state)


def _class_names(tables: Mapping[Path, _Table]) -> tuple[tuple[str, ...], list[str], list[str]]:
    """Return the name of each label number, the problems and the notes."""
    first_file, first = next(iter(tables.items()))
    problems = [
        f"{escape(path.name)} has other class names than {escape(first_file.name)}; use the same in both"
        for path, table in tables.items()
        if table.names != first.names
    ]
    numbers = [label for table in tables.values() for label in table.labels if isinstance(label, int)]
    names, notes = first.names or (), []
    if first.names is None and numbers:
        names = tuple(str(number) for number in range(min(max(numbers) + 1, _MAX_NUMBERED_CLASSES)))
        notes.append('no class names in the Parquet file; the classes are named after their labels, "0", "1", ...')
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        problems.append(
            f"several labels share a class name: {summarise(map(quote, repeated))}; give each label its own"
        )
    for path, table in tables.items():
        wrong = [(row, label) for row, label in enumerate(table.labels) if not _is_label(label, len(names))]
        if wrong:
            rows = summarise(f"row {row} ({_shown(label)})" for row, label in wrong)
            where = f"{escape(path.name)}: " if len(tables) > 1 else ""
            why = "" if len(names) < _MAX_NUMBERED_CLASSES else ", the limit without class names"
            verb = "label is" if len(wrong) == 1 else "labels are"
            problems.append(
                f"{where}{len(wrong):,} {verb} not in 0..{len(names) - 1}{why}: {rows}; correct or remove these rows"
            )
    return names, problems, notes


def _shown(label: int | str | None) -> str:
    return "empty" if label in (None, "") else quote(label, limit=40) if isinstance(label, str) else f"{label}"


def _is_label(label: int | str | None, num_classes: int) -> bool:
    return bool(label.strip()) if isinstance(label, str) else label is not None and 0 <= label < num_classes
