"""Pages of a column chunk: their headers, with every claimed size compared with a limit."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from allmlp.io.thrift import read_struct

__all__ = ["CODECS", "Chunk", "Page", "pages_of"]

# Parquet's numbers of compressions, and pyarrow's names. LZO and Hadoop's LZ4 are missing.
CODECS = {0: "", 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}

_HEADER_BYTES = (256, 1 << 16)  # most headers have about 50 bytes; statistics make them longer
_DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = range(4)


@dataclass(frozen=True)
class Chunk:
    """The location of one column of one row group.

    `codec` is a value of `CODECS`. Values below `max_level` of nesting are null; 0 means that none is.
    """

    offset: int
    packed_bytes: int
    num_values: int
    codec: str
    max_level: int


class Page(NamedTuple):
    """A page whose values, and in the first format also the levels, are `num_bytes` of data, `packed_bytes` in the file."""

    is_dictionary: bool
    num_values: int
    encoding: int
    offset: int
    packed_bytes: int
    num_bytes: int
    codec: str
    levels_bytes: int | None  # at `offset - levels_bytes`, never compressed; None: within the data


def pages_of(file: io.BufferedReader, chunk: Chunk) -> Iterator[Page]:
    """Yield the pages of a chunk, in order, without their data.

    Raises:
        ValueError: a damaged header, or one with more values than the chunk.
    """
    position, end = chunk.offset, chunk.offset + chunk.packed_bytes
    remaining = chunk.num_values
    while remaining > 0 and position < end:
        header, position = _header(file, position, end)
        packed = _count(header, 3)
        if position + packed > end:
            raise ValueError("a page extends past the end of its column")
        page = _page(header, position, chunk.codec)
        position += packed
        if page is None:
            continue
        if not page.is_dictionary:
            remaining -= page.num_values
        if remaining < 0 or page.num_values > chunk.num_values:
            raise ValueError("a page has more values than its row group has rows")
        yield page
    if remaining > 0:
        raise ValueError(f"{remaining:,} values of a column are missing")


def _header(file: io.BufferedReader, position: int, end: int) -> tuple[dict[int, Any], int]:
    for limit in _HEADER_BYTES:
        file.seek(position)
        data = file.read(min(limit, end - position))
        try:
            header, length = read_struct(data)
            return header, position + length
        except IndexError:
            continue
    raise ValueError("the header of a page is cut short or too long")


def _page(header: dict[int, Any], position: int, codec: str) -> Page | None:
    kind, num_bytes, packed = _count(header, 1), _count(header, 2), _count(header, 3)
    if kind == _DATA_PAGE:
        details = _struct(header, 5)
        return Page(False, _count(details, 1), _count(details, 2), position, packed, num_bytes, codec, None)
    if kind == _DICTIONARY_PAGE:
        details = _struct(header, 7)
        return Page(True, _count(details, 1), _count(details, 2), position, packed, num_bytes, codec, None)
    if kind == _DATA_PAGE_V2:
        details = _struct(header, 8)
        levels = _count(details, 5)
        if _count(details, 6) or levels > min(packed, num_bytes):
            raise ValueError("the header of a page has invalid sizes")
        codec = codec if details.get(7, True) else ""
        sizes = position + levels, packed - levels, num_bytes - levels
        return Page(False, _count(details, 1), _count(details, 4), *sizes, codec, levels)
    return None  # an index, or a kind of a later version: readers skip these


def _struct(header: dict[int, Any], number: int) -> dict[int, Any]:
    value = header.get(number)
    if not isinstance(value, dict):
        raise ValueError("the header of a page lacks its details")
    return value


def _count(fields: dict[int, Any], number: int) -> int:
    value = fields.get(number)
    if not isinstance(value, int) or value < 0:
        raise ValueError("the header of a page is damaged")
    return value
