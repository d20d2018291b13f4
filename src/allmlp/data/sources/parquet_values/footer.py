"""The footer of a Parquet file: its schema, and where the chunks of its columns are, checked against the file's size."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allmlp.data.sources.parquet_values.guard import RefusedError
from allmlp.data.sources.parquet_values.pages import CODECS, Chunk
from allmlp.io.thrift import read_struct

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet

__all__ = ["Footer", "file_state", "read_footer"]

# A photo takes more bytes than this, so that a file with more rows was made to exhaust memory.
_MIN_ROW_BYTES = 16
_ANY_ROWS = 10_000  # fewer are accepted in any file

_MAX_FOOTER_BYTES = 2**23  # 15,000 row groups; parsing the footer takes many times this


@dataclass(frozen=True, eq=False)
class Footer:
    """The schema, the rows of each row group, and the state of the file, which changes when it is rewritten."""

    schema: "pa.Schema"
    group_rows: tuple[int, ...]
    state: tuple[int, int]
    metadata: "pyarrow.parquet.FileMetaData"
    groups: Sequence[Mapping[int, Any]]  # as Parquet's Thrift definition numbers their fields

    def stored_type(self, path: Sequence[str]) -> tuple[str, bool]:
        """Return how the column at `path` is stored, such as "INT64" or "BYTE_ARRAY", and whether its integers are signed."""
        column = self.metadata.schema.column(_leaf(self.schema, path))
        return column.physical_type, not column.converted_type.startswith("UINT")

    def chunks(self, path: Sequence[str]) -> tuple[Chunk, ...]:
        """Return the chunks of the column at `path`, one per row group: the name of a column, or also of a part of it.

        Raises:
            ValueError: chunks that overlap, extend past the end of the file, or have an unknown compression.
        """
        leaf = _leaf(self.schema, path)
        column = self.metadata.schema.column(leaf)
        if column.max_repetition_level:
            raise ValueError(f"column {path[0]!r} has lists")
        level = column.max_definition_level
        chunks = [self._chunk(group, leaf, level, num_rows) for group, num_rows in enumerate(self.group_rows)]
        if sum(chunk.packed_bytes for chunk in chunks) > self.state[0]:  # reading them all would never end
            raise ValueError("its row groups overlap")
        return tuple(chunks)

    def _chunk(self, group: int, leaf: int, level: int, num_rows: int) -> Chunk:
        # Not from pyarrow, which ends the process at an unknown compression: fields 1 and 3 are columns and their details.
        details = self.groups[group][1][leaf][3]
        # Field 11 is the offset of the dictionary, if there is one, and 9 that of the data.
        offset = min(start for start in (details.get(11), details[9]) if start)
        size, codec = details[7], details[4]
        if details[5] != num_rows or offset < 4 or size < 0 or offset + size > self.state[0]:
            raise ValueError(f"row group {group} has columns beyond the end of the file")
        if codec not in CODECS:
            raise RefusedError(f"the compression number {codec} is not supported")
        return Chunk(offset, size, num_rows, CODECS[codec], level)


def read_footer(path: Path) -> Footer:
    """Read the footer of a file.

    Raises:
        ValueError, LookupError, OSError, pyarrow.ArrowException: not a complete Parquet file, or more rows or a longer footer
            than photos need.
    """
    import pyarrow.parquet

    with path.open("rb") as file:
        state = file_state(file.fileno())
        file.seek(max(0, state[0] - 8))
        footer_bytes = int.from_bytes(file.read(4), "little")
        if _MAX_FOOTER_BYTES < footer_bytes <= state[0]:
            raise RefusedError(f"its footer has {footer_bytes:,} bytes; the limit is {_MAX_FOOTER_BYTES:,}")
        file.seek(0)
        metadata = pyarrow.parquet.read_metadata(file)
        file.seek(state[0] - 8 - footer_bytes)
        groups = read_struct(file.read(footer_bytes))[0].get(4, [])
    group_rows = tuple(group[3] for group in groups)
    limit = _ANY_ROWS + state[0] // _MIN_ROW_BYTES
    if min(group_rows, default=0) < 0 or sum(group_rows) > limit:
        raise RefusedError(f"it claims {sum(group_rows):,} rows, more than {state[0]:,} bytes can hold")
    return Footer(metadata.schema.to_arrow_schema(), group_rows, state, metadata, groups)


def file_state(handle: int) -> tuple[int, int]:
    """Return the size and the time of the last change of an open file."""
    status = os.fstat(handle)
    return status.st_size, status.st_mtime_ns


def _leaf(schema: "pa.Schema", path: Sequence[str]) -> int:
    """Return the number of a column among those that the file stores, by structure: names may contain dots."""
    number = 0
    fields = list(schema)
    for name in path:
        index = [field.name for field in fields].index(name)
        number += sum(_num_leaves(field.type) for field in fields[:index])
        fields = _fields(fields[index].type)
    return number


def _num_leaves(kind: "pa.DataType") -> int:
    fields = _fields(kind)
    return sum(_num_leaves(field.type) for field in fields) if fields else 1


def _fields(kind: "pa.DataType") -> list["pa.Field"]:
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return _fields(kind.storage_type)
    return [kind.field(index) for index in range(kind.num_fields)]
