"""Data sets given as Parquet files in the Hugging Face image convention: columns image (bytes, path) and label."""

import dataclasses
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, SplitName
from allmlp.data.sources.assemble import FoundSplit, assemble, raise_problems
from allmlp.data.sources.parquet_columns import NoLabelsError, features_of, image_and_label, values_of
from allmlp.data.sources.parquet_files import parquet_splits, partial_notes
from allmlp.errors import DataError
from allmlp.io.display import escape, quote, summarise

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetReader", "open_parquet"]

# Cache of decompressed row groups. A shuffled epoch over more data than this decompresses row groups repeatedly.
_CACHE_BYTES = 2**30
_NO_LABEL = -1  # of a test split whose labels are not public

# Without class names, labels are class numbers, and every lower number is a class, too. ImageNet-21k has 21,843.
_MAX_NUMBERED_CLASSES = 100_000

# (path, mtime, size, column, row group) -> column of encoded photos, least recently used first.
_cache: "OrderedDict[tuple[object, ...], pa.ChunkedArray]" = OrderedDict()
_cache_lock = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class ParquetReader:
    """Reads the rows of one or more files as if they were concatenated.

    A file is opened only to decompress a row group, so nothing is shared between processes. Row groups are cached, so any
    order of rows decompresses each group once, as long as all fit in the cache. `columns[i]` is the image column of
    `files[i]`; `group_files` and `group_ends` are the file of each row group and the row after its last one; `rows`
    int64 (n,) are the rows of the photos, and `paths` their paths as the rows give them.
    """

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    group_files: NDArray[np.int64]
    group_ends: NDArray[np.int64]
    rows: NDArray[np.int64]
    paths: tuple[str | None, ...]

    def read(self, index: int) -> bytes:
        """Return the row's bytes. Raises DataError if the file is missing or has changed, or the row has no bytes."""
        row = int(self.rows[index])
        group = int(np.searchsorted(self.group_ends, row, side="right"))
        start = int(self.group_ends[group - 1]) if group else 0
        number = int(self.group_files[group])
        group_in_file = group - int(np.searchsorted(self.group_files, number))
        try:
            column = _row_group(self.files[number], self.columns[number], group_in_file)
            if len(column) != self.group_ends[group] - start:
                raise ValueError("the file has changed since it was opened")
            content: bytes | None = column[row - start].as_py()
        except (OSError, ValueError, LookupError, NotImplementedError) as error:  # base classes of pyarrow's errors
            raise DataError(f"{self.where(index)}: this photo cannot be read: {error}") from error
        if content is None:
            raise DataError(
                f"{self.where(index)}: this row has no image bytes. Store the encoded photos in the Parquet file."
            )
        return content

    def where(self, index: int) -> str:
        """Return "train.parquet: row 17 (dress/x.webp)"; rows are counted from 0 in each file."""
        row = int(self.rows[index])
        group = int(np.searchsorted(self.group_ends, row, side="right"))
        number = int(self.group_files[group])
        first = int(np.searchsorted(self.group_files, number))
        start = int(self.group_ends[first - 1]) if first else 0
        path = self.paths[index]
        return escape(f"{self.files[number]}: row {row - start}" + (f" ({path})" if path else ""))

    def subset(self, indices: NDArray[np.int64]) -> "ParquetReader":
        """Return a reader of the rows at `indices`, in that order."""
        paths = tuple(self.paths[index] for index in indices)
        return dataclasses.replace(self, rows=self.rows[indices], paths=paths)

    def photo_files(self) -> tuple[Path, ...]:
        """Return the paths of the files."""
        return self.files

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices, ordered by row."""
        return np.argsort(self.rows, kind="stable")


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
    sizes = np.array([size for table in tables for size in table.group_sizes], dtype=np.int64)
    owners = np.array([number for number, table in enumerate(tables) for _ in table.group_sizes], dtype=np.int64)
    paths = tuple(path for table in tables for path in table.paths)
    columns = tuple(table.column for table in tables)
    return ParquetReader(tuple(files), columns, owners, np.cumsum(sizes), np.arange(len(paths), dtype=np.int64), paths)


@dataclasses.dataclass(frozen=True)
class _Table:
    """What is read from a file when it is opened. Labels are numbers or names, None if empty; `names` are the declared ones."""

    labels: Sequence[Any]
    paths: Sequence[str | None]
    names: tuple[str, ...] | None
    column: str
    group_sizes: tuple[int, ...]


def _read_table(path: Path) -> _Table:
    """Read labels, paths and metadata. A DataError has neither path nor full stop: `raise_problems` adds them."""
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            features = features_of(file.schema_arrow.metadata)
            image, label = image_and_label(file.schema_arrow, features)
            is_struct = pa.types.is_struct(file.schema_arrow.field(image).type)
            has_paths = is_struct and file.schema_arrow.field(image).type.get_field_index("path") >= 0
            wanted = [label, f"{image}.path"] if has_paths else [label]
            columns = file.read(columns=wanted)
            sizes = tuple(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
    except (pa.ArrowException, OSError) as error:
        reason = escape(str(error).strip().rstrip("."))
        raise DataError(f"this is not a complete Parquet file ({reason}); copy or download it again") from error
    labels = values_of(columns.column(label))
    paths: list[str | None] = [None] * len(labels)
    if has_paths:
        paths = [path or None for path in values_of(pyarrow.compute.struct_field(columns.column(image), "path"))]
    names = features.get(label, {}).get("names")
    return _Table(labels, paths, tuple(map(str, names)) if names else None, image, sizes)


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


def _row_group(path: Path, column: str, group: int) -> "pa.ChunkedArray":
    status = path.stat()
    key = (path.absolute(), status.st_mtime_ns, status.st_size, column, group)  # a rewritten file has another key
    with _cache_lock:  # threads that need the same row group wait until one of them has decompressed it
        if key not in _cache:
            import pyarrow.compute
            import pyarrow.parquet

            with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
                is_struct = pyarrow.types.is_struct(file.schema_arrow.field(column).type)
                leaf = f"{column}.bytes" if is_struct else column
                # By name: `columns` also selects a top-level column that is named "image.bytes".
                values = file.read_row_group(group, columns=[leaf], use_threads=False).column(column)
            if pyarrow.types.is_struct(values.type):
                values = pyarrow.compute.struct_field(values, "bytes")
            _cache[key] = values
            while sum(kept.nbytes for kept in _cache.values()) > _CACHE_BYTES and len(_cache) > 1:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key]
