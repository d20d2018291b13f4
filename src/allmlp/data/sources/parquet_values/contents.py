"""The data of pages, read in parts, from compressed pages too, within bounded memory."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from allmlp.data.sources.parquet_values.guard import RefusedError
from allmlp.data.sources.parquet_values.page_store import PageStore
from allmlp.data.sources.parquet_values.pages import Page
from allmlp.data.sources.parquet_values.zstd_blocks import ZstdBlocks, zstd_blocks

__all__ = ["MAX_RATIO", "CachedContent", "Content", "content_of"]

MAX_RATIO = 200
"""Photos are compressed already: a file whose photos take more than 200 times its bytes was made to exhaust memory."""

_MAX_PAGE_BYTES = 2**29
_ANY_RATIO_BYTES = 2**24  # smaller pages may have any ratio

_SNAPPY_BLOCK = 1 << 16  # snappy compresses each block by itself
_MIN_TAG_BYTES = 64  # on average; where snappy's tags are closer, the data are compressible, and no photos

_pages = PageStore(_MAX_PAGE_BYTES)


class Content(Protocol):
    """The unpacked data of one page, `num_bytes` long."""

    @property
    def num_bytes(self) -> int: ...

    def read(self, file: io.BufferedReader, start: int, num_bytes: int) -> bytes:
        """Return the data from `start` on. Raises ValueError if they are damaged."""
        ...


def content_of(file: io.BufferedReader, page: Page, file_key: tuple[object, ...]) -> Content:
    """Return the content of a page; `file_key` identifies the file and its state.

    Raises:
        ValueError: the page claims to unpack to too many bytes, or is damaged.
    """
    if not page.codec:
        if page.packed_bytes != page.num_bytes:
            raise ValueError("the header of a page has invalid sizes")
        return _Stored(page.offset, page.num_bytes)
    if page.codec == "snappy":
        starts = _snappy_blocks(_read(file, page.offset, page.packed_bytes), page.num_bytes)
        if starts is not None:
            return _SnappyBlocks(page.num_bytes, starts + page.offset)
    if page.codec == "zstd":
        blocks = zstd_blocks(_read(file, page.offset, page.packed_bytes), page.num_bytes)
        if blocks is not None:
            return _StoredBlocks(page.num_bytes, page.offset, blocks)
    if page.num_bytes > _MAX_PAGE_BYTES or page.num_bytes > max(_ANY_RATIO_BYTES, MAX_RATIO * page.packed_bytes):
        raise RefusedError(
            f"a page of {page.packed_bytes:,} bytes would unpack to {page.num_bytes:,}; the limits are "
            f"{_MAX_PAGE_BYTES:,} bytes and {MAX_RATIO} times its size. Write the file with smaller pages"
        )
    return CachedContent(
        page.num_bytes,
        (*file_key, page.offset),
        lambda file: _unpack(_read(file, page.offset, page.packed_bytes), page.num_bytes, page.codec),
    )


@dataclass(frozen=True)
class _Stored:
    offset: int
    num_bytes: int

    def read(self, file: io.BufferedReader, start: int, num_bytes: int) -> bytes:
        return _read(file, self.offset + start, num_bytes)


@dataclass(frozen=True)
class _StoredBlocks:
    """A page whose blocks are stored as they are, so that any part is read directly."""

    num_bytes: int
    offset: int
    blocks: ZstdBlocks

    def read(self, file: io.BufferedReader, start: int, num_bytes: int) -> bytes:
        ranges = self.blocks.ranges(start, num_bytes) if num_bytes else []
        return b"".join(_read(file, self.offset + offset, length) for offset, length in ranges)


@dataclass(frozen=True, eq=False)
class _SnappyBlocks:
    """A page of which any block can be unpacked alone. `starts` int64 (blocks + 1,) are offsets in the file."""

    num_bytes: int
    starts: NDArray[np.int64]

    def read(self, file: io.BufferedReader, start: int, num_bytes: int) -> bytes:
        if num_bytes == 0:
            return b""
        first, last = start // _SNAPPY_BLOCK, (start + num_bytes - 1) // _SNAPPY_BLOCK + 1
        begin = first * _SNAPPY_BLOCK
        offset, end = int(self.starts[first]), int(self.starts[last])
        length = min(last * _SNAPPY_BLOCK, self.num_bytes) - begin
        unpacked = _unpack(_varint(length) + _read(file, offset, end - offset), length, "snappy")
        return unpacked[start - begin : start - begin + num_bytes]


@dataclass(frozen=True, eq=False)
class CachedContent:
    """A page that can be unpacked only as a whole, by `make`, and is kept if possible."""

    num_bytes: int
    key: tuple[object, ...]
    make: Callable[[io.BufferedReader], bytes]

    def read(self, file: io.BufferedReader, start: int, num_bytes: int) -> bytes:
        return _pages.read(self.key, self.num_bytes, lambda: self.make(file), start, num_bytes)


def _read(file: io.BufferedReader, offset: int, num_bytes: int) -> bytes:
    file.seek(offset)
    data = file.read(num_bytes)
    if len(data) < num_bytes:
        raise ValueError("the file is cut short")
    return data


def _unpack(packed: bytes, num_bytes: int, codec: str) -> bytes:
    import pyarrow as pa

    if num_bytes == 0:
        return b""
    unpacked: bytes = pa.decompress(packed, decompressed_size=num_bytes, codec=codec, asbytes=True)
    if len(unpacked) != num_bytes:
        raise ValueError(f"a page unpacks to {len(unpacked):,} bytes instead of {num_bytes:,}")
    return unpacked


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _snappy_blocks(packed: bytes, num_bytes: int) -> NDArray[np.int64] | None:
    """Return the offset of every block in snappy's raw format, and of the end.

    None if blocks refer to earlier ones, which the format allows, or if there are too many tags to read in Python.
    """
    header = _varint(num_bytes)
    if not packed.startswith(header):
        raise ValueError("a page has another size than its header says")
    position, length, block = len(header), 0, 0  # `block` is where the current one starts, in the unpacked data
    starts = [position]
    for _ in range(len(packed) // _MIN_TAG_BYTES + 64):
        if position >= len(packed):
            is_whole = position == len(packed) and length == num_bytes
            if is_whole and starts[-1] != position:
                starts.append(position)
            return np.array(starts, dtype=np.int64) if is_whole else None
        size, reach, position = _snappy_tag(packed, position)
        if reach > length - block or length - block + size > _SNAPPY_BLOCK:
            return None
        length += size
        if length - block == _SNAPPY_BLOCK:
            block = length
            starts.append(position)
    return None


def _snappy_tag(packed: bytes, position: int) -> tuple[int, int, int]:
    """Return how many bytes a tag stands for, how far back it copies them from (0: a literal), and where the next one is."""
    tag = packed[position]
    kind, upper = tag & 3, tag >> 2
    if kind == 0:
        extra = max(0, upper - 59)  # bytes of a length of more than 60
        size = (int.from_bytes(packed[position + 1 : position + 1 + extra], "little") if extra else upper) + 1
        return size, 0, position + 1 + extra + size
    if kind == 1:
        reach = (tag >> 5) << 8 | int.from_bytes(packed[position + 1 : position + 2], "little")
        return 4 + (upper & 7), reach, position + 2
    width = 2 if kind == 2 else 4
    return upper + 1, int.from_bytes(packed[position + 1 : position + 1 + width], "little"), position + 1 + width
