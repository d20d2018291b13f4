"""Index of tar shards: where each photo is, its size, digest, sample ID and class, in an Arrow file that is mapped into memory.

Not Parquet: its values have to be unpacked, so that every process would hold a copy of them.
"""

import dataclasses
import functools
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from allmlp.errors import AllmlpError
from allmlp.io.atomic_write import write_together
from allmlp.io.cache_folder import cache_folder

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ShardIndex", "index_paths", "make_index", "open_index", "write_index"]

_VERSION = 2  # of the columns, of the rules of sample IDs, and of what is refused
_INFO = b"allmlp"
_DIGEST_BYTES = 32


@dataclasses.dataclass(frozen=True, eq=False)
class ShardIndex:
    """An index of n photos. Pickled as its path if it has one, so that another process maps the same file.

    `info` is what is known of the data set as a whole, as JSON; `shards` are the names of the shards, relative to their
    folder. The columns are read-only: `shard_numbers` int32 (n,), `offsets` int64 (n,), `sizes` int32 (n,).
    """

    table: "pa.Table"
    path: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path is None:
            return ShardIndex, (self.table,)
        return _reopened, (self.path, self.info["stamp"])

    @functools.cached_property
    def info(self) -> Mapping[str, Any]:
        """What is known of the data set as a whole."""
        value: Mapping[str, Any] = json.loads(self.table.schema.metadata[_INFO])
        return value

    @functools.cached_property
    def shards(self) -> tuple[str, ...]:
        """The names of the shards."""
        return tuple(name for name, *_ in self.info["shards"])

    @functools.cached_property
    def shard_numbers(self) -> NDArray[np.int32]:
        """The number of each photo's shard."""
        return self._numbers("shard")

    @functools.cached_property
    def offsets(self) -> NDArray[np.int64]:
        """The offset of each photo in its shard."""
        return self._numbers("offset")

    @functools.cached_property
    def sizes(self) -> NDArray[np.int32]:
        """The number of bytes of each photo."""
        return self._numbers("size")

    @functools.cached_property
    def labels(self) -> NDArray[np.int32]:
        """The class of each photo."""
        return self._numbers("label")

    def digest(self, row: int) -> bytes:
        """Return the SHA-256 of a photo."""
        content: bytes = self._column("digest")[row].as_py()
        return content

    def name(self, row: int) -> str:
        """Return the name of a photo's member."""
        return _text(self._column("name")[row].as_py())

    def sample_ids(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the sample IDs of a range of photos."""
        return tuple(self._column("sample_id")[start:stop].to_pylist())

    def _column(self, name: str) -> Any:
        return self.table.column(name).chunk(0)

    def _numbers(self, name: str) -> NDArray[Any]:
        numbers: NDArray[Any] = self._column(name).to_numpy(zero_copy_only=True)
        return numbers


def make_index(columns: Mapping[str, Any], info: Mapping[str, Any]) -> ShardIndex:
    """Return an index in memory.

    Args:
        columns: "shard", "offset", "size" and "label" as arrays, "digest" as the bytes of all, "name" and "sample_id".
        info: at least "shards", of which each is a list that starts with the name.
    """
    import pyarrow as pa

    num_rows = len(columns["offset"])
    digests = pa.Array.from_buffers(pa.binary(_DIGEST_BYTES), num_rows, [None, pa.py_buffer(bytes(columns["digest"]))])
    arrays = {
        "shard": pa.array(np.asarray(columns["shard"], dtype=np.int32)),
        "offset": pa.array(np.asarray(columns["offset"], dtype=np.int64)),
        "size": pa.array(np.asarray(columns["size"], dtype=np.int32)),
        "label": pa.array(np.asarray(columns["label"], dtype=np.int32)),
        "digest": digests,
        "name": pa.array([name.encode("utf-8", "surrogateescape") for name in columns["name"]], pa.large_binary()),
        "sample_id": pa.array(columns["sample_id"], pa.large_string()),
    }
    return ShardIndex(_with_info(pa.table(arrays), info))


def write_index(
    paths: Sequence[Path], index: ShardIndex, rows: NDArray[np.int64], changes: Mapping[str, Any]
) -> ShardIndex:
    """Write the rows of an index to the first of these files that can be written, and return it, mapped into memory.

    `changes` are columns and, as "info", entries that differ. If no file can be written, the index stays in memory.
    """
    import pyarrow as pa

    table = index.table.take(pa.array(rows))
    for name, values in changes.items():
        if name != "info":
            position = table.schema.get_field_index(name)
            table = table.set_column(
                position, table.schema.field(name), pa.array(values, table.schema.field(name).type)
            )
    info = {**index.info, **changes["info"], "version": _VERSION}
    table = table.combine_chunks()
    info["checksum"] = _checksum(table)
    info["stamp"] = _stamp(info)
    table = _with_info(table, info)

    def fill(file: Any) -> None:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    for path in paths:
        try:
            write_together({path: fill})
        except AllmlpError:
            continue
        if written := open_index(path):
            return written
    return ShardIndex(table)


def open_index(path: Path) -> ShardIndex | None:
    """Return an index, mapped into memory; None if it is missing, damaged, or of another version.

    Offsets and sizes are not trusted: a photo is returned only if its digest fits, and larger ones are refused.
    """
    import pyarrow as pa

    try:
        if not path.is_file():
            return None
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        table.validate(full=True)
        index = ShardIndex(table, path)
        is_sound = index.info["version"] == _VERSION and table.schema.equals(_schema()) and _is_sound(index)
        return index if is_sound else None
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        AssertionError,
        pa.ArrowException,
        RecursionError,
    ):
        return None


def index_paths(root: Path, shard: str | None) -> tuple[Path, Path]:
    """Return where the index of a folder of shards is: in the folder or, if that cannot be written, in allmlp's cache folder.

    `shard` is the name of a single shard that is opened alone; None for all of the folder.
    """
    name = f".{shard}.allmlp-index.arrow" if shard else ".allmlp-index.arrow"
    where = str(root.absolute() / name).encode("utf-8", "surrogateescape")
    return root / name, cache_folder() / "shard-indexes" / f"{hashlib.sha256(where).hexdigest()[:32]}.arrow"


def _is_sound(index: ShardIndex) -> bool:
    from allmlp.data.decoding.limits import MAX_PHOTO_BYTES

    if not len(index.table) or any(column.null_count for column in index.table.columns):
        return False
    info = index.info
    shards, names = info["shards"], info["class_names"]
    ranges = ((index.shard_numbers, len(shards)), (index.labels, len(names)), (index.sizes, MAX_PHOTO_BYTES + 1))
    return (
        all(int(numbers.min()) >= 0 and int(numbers.max()) < limit for numbers, limit in ranges)
        and int(index.offsets.min()) >= 0
        and info["splits"].keys() <= {"train", "validation", "test"}
        and all(type(count) is int and count > 0 for count in info["splits"].values())
        and sum(info["splits"].values()) == len(index.table)
        and all(isinstance(name, str) for name in names)
        and info["stamp"] == _stamp({name: value for name, value in info.items() if name != "stamp"})
        and info["checksum"] == _checksum(index.table)
    )


def _stamp(info: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(info).encode()).hexdigest()[:32]


def _checksum(table: "pa.Table") -> int:
    """Return the CRC-32 of all columns: a damaged sample ID or label would go unnoticed otherwise."""
    checksum = 0
    for column in table.columns:
        values = column.chunk(0)
        assert values.offset == 0
        _, *buffers = values.buffers()  # without their padding, which is not stored
        widths = [8 * (len(values) + 1), None] if len(buffers) == 2 else [len(values) * column.type.bit_width // 8]
        for buffer, width in zip(buffers, widths, strict=True):
            end = width if width is not None else int(np.frombuffer(buffers[0], np.int64)[len(values)])
            checksum = zlib.crc32(memoryview(buffer)[:end], checksum)
    return checksum


def _reopened(path: Path, stamp: str) -> ShardIndex:
    index = open_index(path)
    if index is None or index.info["stamp"] != stamp:
        raise AllmlpError(f"{path}: this index of shards has changed while it was in use. Start the command again.")
    return index


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        {
            "shard": pa.int32(),
            "offset": pa.int64(),
            "size": pa.int32(),
            "label": pa.int32(),
            "digest": pa.binary(_DIGEST_BYTES),
            "name": pa.large_binary(),
            "sample_id": pa.large_string(),
        }
    )


def _with_info(table: "pa.Table", info: Mapping[str, Any]) -> "pa.Table":
    return table.replace_schema_metadata({_INFO: json.dumps(info).encode()})


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
