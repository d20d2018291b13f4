"""Data sets given as Parquet files in the Hugging Face image convention: columns image (bytes, path) and label."""

import dataclasses
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, SplitName, split_named
from allmlp.data.sources.assemble import FoundSplit, assemble, raise_problems
from allmlp.data.sources.parquet_columns import features_of, image_and_label, values_of
from allmlp.errors import DataError
from allmlp.io.display import escape, summarise

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetReader", "open_parquet", "parquet_splits"]

# Cache of decompressed row groups. A shuffled epoch over more data than this decompresses row groups repeatedly.
_CACHE_BYTES = 2**30
_SHARD = re.compile(r"-(\d{1,6})-of-(\d{1,6})$")

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

    def sizes(self) -> None:
        """Return None: the rows have to be read."""

    def photo_files(self) -> tuple[Path, ...]:
        """Return the paths of the files."""
        return self.files

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices, ordered by row."""
        return np.argsort(self.rows, kind="stable")


def parquet_splits(files: Sequence[Path]) -> dict[SplitName, list[Path]]:
    """Group files by the split in their names ("train-00000-of-00002.parquet"); a single file may have any name.

    Raises:
        DataError: one of several files is not named after a split, or a shard is missing.
    """
    splits: dict[SplitName, list[Path]] = {}
    problems = []
    for path in sorted(files):
        split = split_named(re.split(r"[-_.]", path.name)[0])
        if split is None and len(files) > 1:
            problems.append(
                f"{escape(path.name)} is not named after a split; expected train*, validation* (or val*, valid*), test*"
            )
        splits.setdefault(split or "train", []).append(path)
    for paths in splits.values():
        problems += _missing_shards(paths) if len(files) > 1 else []
    raise_problems(str(files[0].parent), problems)
    return splits


def _missing_shards(paths: Sequence[Path]) -> list[str]:
    shards: dict[str, set[str]] = {}
    for path in paths:
        if match := _SHARD.search(path.stem):
            number, count = match.groups()
            shards.setdefault(path.stem[: match.start()] + "-{}-of-" + count, set()).add(number)
    problems = []
    for pattern, present in shards.items():
        count = pattern.rpartition("-")[2]
        missing = [n for n in (f"{i:0{len(count)}d}" for i in range(int(count))) if n not in present]
        if missing:
            problems.append(f"shards are missing: {summarise(pattern.format(n) + '.parquet' for n in missing)}")
    return problems


def open_parquet(source: str, files: Sequence[Path]) -> ImageDataset:
    """Open Parquet files. Labels and paths are read, photos are not.

    Raises:
        DataError: incomplete Parquet files, columns that are missing or of another type, labels that are empty or out of
            range (rows are counted from 0 in each file), or class names that differ between files; all are reported.
    """
    splits = parquet_splits(files)
    tables: dict[Path, _Table] = {}
    problems: list[str] = []
    for path in (path for paths in splits.values() for path in paths):
        try:
            tables[path] = _read_table(path)
        except DataError as error:
            problems.append(f"{escape(path.name)}: {error}" if str(path) != source else str(error))
    raise_problems(source, problems)
    names, problems, notes = _class_names(tables)
    raise_problems(source, problems)
    found = {}
    for split, paths in splits.items():
        of_split = [tables[path] for path in paths]
        class_names = [names[label] if isinstance(label, int) else label for t in of_split for label in t.labels]
        found[split] = FoundSplit([path for t in of_split for path in t.paths], class_names, _reader(paths, of_split))
    used = {name for split in found.values() for name in split.class_names}
    problems = _classes_missing_from_train({split: set(found[split].class_names) for split in found})
    raise_problems(source, problems)
    return assemble(source, found, used | set(names), notes)


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
    bytes_column = f"{image}.bytes" if is_struct else image
    return _Table(labels, paths, tuple(map(str, names)) if names else None, bytes_column, sizes)


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
        problems.append(f"several labels share a class name: {summarise(repeated)}; give each label its own")
    for path, table in tables.items():
        wrong = [(row, label) for row, label in enumerate(table.labels) if not _is_label(label, len(names))]
        if wrong:
            rows = summarise(f"row {row} ({'empty' if label in (None, '') else label})" for row, label in wrong)
            where = f"{escape(path.name)}: " if len(tables) > 1 else ""
            why = "" if len(names) < _MAX_NUMBERED_CLASSES else ", the limit without class names"
            verb = "label is" if len(wrong) == 1 else "labels are"
            problems.append(
                f"{where}{len(wrong):,} {verb} not in 0..{len(names) - 1}{why}: {rows}; correct or remove these rows"
            )
    return names, problems, notes


def _is_label(label: int | str | None, num_classes: int) -> bool:
    return bool(label.strip()) if isinstance(label, str) else label is not None and 0 <= label < num_classes


def _classes_missing_from_train(classes: Mapping[SplitName, set[str]]) -> list[str]:
    # The names are declared for all splits, so a class may be absent from a small test split, but not from train.
    return [
        f"{split} has classes that train lacks: {summarise(sorted(names - classes['train']))}; add photos of them to train"
        for split, names in classes.items()
        if "train" in classes and names - classes["train"]
    ]


def _row_group(path: Path, column: str, group: int) -> "pa.ChunkedArray":
    status = path.stat()
    key = (path.absolute(), status.st_mtime_ns, status.st_size, column, group)  # a rewritten file has another key
    with _cache_lock:  # threads that need the same row group wait until one of them has decompressed it
        if key not in _cache:
            import pyarrow.compute
            import pyarrow.parquet

            with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
                values = file.read_row_group(group, columns=[column], use_threads=False).column(0)
            if pyarrow.types.is_struct(values.type):
                values = pyarrow.compute.struct_field(values, "bytes")
            _cache[key] = values
            while sum(kept.nbytes for kept in _cache.values()) > _CACHE_BYTES and len(_cache) > 1:
                _cache.popitem(last=False)
        _cache.move_to_end(key)
        return _cache[key]
