"""Values of a column chunk: the location of each in its pages, and its content."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allmlp.data.sources.parquet_values.contents import MAX_RATIO, CachedContent, Content, content_of
from allmlp.data.sources.parquet_values.encodings import differences, runs
from allmlp.data.sources.parquet_values.guard import RefusedError
from allmlp.data.sources.parquet_values.pages import Chunk, Page, pages_of

__all__ = ["MAX_TEXT_BYTES", "ByteValues", "integers_of", "locate", "texts_of"]

MAX_TEXT_BYTES = 4096
"""The longest path or class name: no file system has longer paths."""

_ANY_RATIO_BYTES = 2**20  # smaller row groups may have photos of any ratio to the bytes of the file
_WINDOW_BYTES = 2**20
_MAX_JOINED_BYTES = 2**27  # in one page, of values that share bytes with the one before
_PLAIN, _PLAIN_DICTIONARY, _RLE, _DELTA_BINARY, _DELTA_LENGTH, _DELTA_BYTES, _RLE_DICTIONARY = 0, 2, 3, 5, 6, 7, 8
_BYTE_STREAM_SPLIT = 9

Table = NDArray[np.int64]  # one row per value; -1 in the last column if it is null
# From a page's content, its number, encoding, the start of the values, and their count.
Decode = Callable[[Content, int, int, int, int], Table]


@dataclass(frozen=True, eq=False)
class ByteValues:
    """The bytes of a column chunk. `table` int64 (n, 3): number of the content, start in it, length (-1: null)."""

    contents: list[Content]
    table: Table

    def num_bytes(self, row: int) -> int:
        """Return the length of a value; -1 if it is null."""
        return int(self.table[row, -1])

    def read(self, file: io.BufferedReader, row: int) -> bytes | None:
        """Return a value; None if it is null."""
        number, start, length = (int(value) for value in self.table[row])
        return None if length < 0 else self.contents[number].read(file, start, length)


def locate(file: io.BufferedReader, chunk: Chunk, file_key: tuple[object, ...]) -> ByteValues:
    """Return where the photos of a column chunk are.

    Raises:
        ValueError, LookupError, OSError: damaged pages, or photos that take too many times the bytes of the chunk.
    """
    values = _locate(file, chunk, file_key)
    total = int(np.maximum(values.table[:, -1], 0).sum())
    if total > max(_ANY_RATIO_BYTES, MAX_RATIO * chunk.packed_bytes):
        raise RefusedError(
            f"a row group has photos of {total:,} bytes in {chunk.packed_bytes:,} bytes of the file; "
            f"the limit is {MAX_RATIO} times. Remove repeated photos"
        )
    return values


def texts_of(file: io.BufferedReader, chunk: Chunk, file_key: tuple[object, ...]) -> list[str | None]:
    """Return a column chunk's strings. Bytes that are not UTF-8 become surrogates, as in Python's file names.

    Raises:
        ValueError, LookupError, OSError: damaged pages, or a text of more than `MAX_TEXT_BYTES`.
    """
    values = _locate(file, chunk, file_key)
    longest = int(values.table[:, -1].max(initial=0))
    if longest > MAX_TEXT_BYTES:
        raise RefusedError(f"a path or class name of {longest:,} bytes; the limit is {MAX_TEXT_BYTES:,}")
    texts: dict[tuple[int, int, int], str] = {}  # values of a dictionary share one string
    column: list[str | None] = []
    for number, start, length in values.table.tolist():
        if length < 0:
            column.append(None)
            continue
        if (number, start, length) not in texts:
            encoded = values.contents[number].read(file, start, length)
            texts[number, start, length] = encoded.decode("utf-8", "surrogateescape")
        column.append(texts[number, start, length])
    return column


def integers_of(
    file: io.BufferedReader, chunk: Chunk, file_key: tuple[object, ...], *, width: int, is_signed: bool
) -> list[int | None]:
    """Return a column chunk's integers of `width` bytes; None where they are null.

    Raises:
        ValueError, LookupError, OSError: damaged pages.
    """
    kind = np.dtype(f"<i{width}")

    def decode(content: Content, _: int, encoding: int, start: int, count: int) -> Table:
        if encoding == _DELTA_BINARY:
            data = content.read(file, start, content.num_bytes - start)
            values = differences(data, 0, count=count)[0].astype(kind)
        else:
            data = content.read(file, start, min(count * width, content.num_bytes - start))
            if encoding == _BYTE_STREAM_SPLIT:
                data = np.frombuffer(data, dtype=np.uint8).reshape(width, -1).T.tobytes()
            elif encoding != _PLAIN:
                raise RefusedError(f"the encoding {encoding} of labels is not supported")
            values = np.frombuffer(data, dtype=kind)
        if len(values) != count:
            raise ValueError("a page has fewer values than its header says")
        return np.stack([values.astype(np.int64), np.zeros(count, dtype=np.int64)], axis=1)

    table = _rows(file, chunk, file_key, [], decode, num_columns=2)
    numbers = table[:, 0] if is_signed else table[:, 0].view(np.uint64) & np.uint64(2 ** (8 * width) - 1)
    return [None if null else value for value, null in zip(numbers.tolist(), table[:, 1].tolist(), strict=True)]


def _locate(file: io.BufferedReader, chunk: Chunk, file_key: tuple[object, ...]) -> ByteValues:
    contents: list[Content] = []

    def decode(content: Content, number: int, encoding: int, start: int, count: int) -> Table:
        if encoding == _PLAIN:
            return _plain(file, content, number, start, count)
        data = content.read(file, start, content.num_bytes - start)
        if encoding == _DELTA_LENGTH:
            lengths, end = differences(data, 0, count=count)
            return _consecutive(number, start + end, lengths, count, content.num_bytes)
        if encoding != _DELTA_BYTES:
            raise RefusedError(f"the encoding {encoding} of bytes is not supported")
        shared, added, end = _shared_lengths(data, count)
        total = int((shared + added).sum())
        key = (*file_key, chunk.offset, number, "joined")
        size = content.num_bytes - start
        contents.append(CachedContent(total, key, lambda file: _joined(content.read(file, start, size), count)))
        return _consecutive(len(contents) - 1, 0, shared + added, count, total)

    table = _rows(file, chunk, file_key, contents, decode, num_columns=3)
    return ByteValues(contents, table)


def _rows(
    file: io.BufferedReader,
    chunk: Chunk,
    file_key: tuple[object, ...],
    contents: list[Content],
    decode: Decode,
    *,
    num_columns: int,
) -> Table:
    """Return the rows of all data pages; those of dictionaries are looked up."""
    dictionary = np.empty((0, num_columns), dtype=np.int64)
    tables = [dictionary]
    for page in pages_of(file, chunk):
        content = content_of(file, page, file_key)
        contents.append(content)
        number = len(contents) - 1
        if page.is_dictionary:
            dictionary = decode(content, number, _PLAIN, 0, page.num_values)
            continue
        present, start = _present(file, page, content, chunk.max_level)
        count = int(present.sum())
        if page.encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
            found = dictionary[_indices(content.read(file, start, content.num_bytes - start), count)]
        else:
            found = decode(content, number, page.encoding, start, count)
        table = np.full((page.num_values, num_columns), -1, dtype=np.int64)
        table[present] = found
        tables.append(table)
    return np.concatenate(tables)


def _indices(data: bytes, count: int) -> NDArray[np.int64]:
    return runs(data, 1, width=data[0], count=count) if count else np.empty(0, dtype=np.int64)


def _present(file: io.BufferedReader, page: Page, content: Content, max_level: int) -> tuple[NDArray[np.bool_], int]:
    """Return which values of a page are not null, and where the values start in its content."""
    if max_level == 0:
        return np.ones(page.num_values, dtype=np.bool_), 0
    if page.levels_bytes is None:
        start = 4 + int.from_bytes(content.read(file, 0, min(4, content.num_bytes)), "little")
        if start > content.num_bytes:
            raise ValueError("a page ends within its levels")
        data = content.read(file, 4, start - 4)
    else:
        file.seek(page.offset - page.levels_bytes)
        data, start = file.read(page.levels_bytes), 0
    levels = runs(data, 0, width=max_level.bit_length(), count=page.num_values)
    return levels == max_level, start


def _plain(file: io.BufferedReader, content: Content, number: int, start: int, count: int) -> Table:
    """Return the rows of values that each follow their length."""
    starts, lengths = [], []
    window, first = b"", start
    for _ in range(count):
        if start + 4 > first + len(window):
            window, first = content.read(file, start, max(0, min(_WINDOW_BYTES, content.num_bytes - start))), start
        if len(window) < 4:
            raise ValueError("a page ends within a value")
        length = int.from_bytes(window[start - first : start - first + 4], "little")
        starts.append(start + 4)
        lengths.append(length)
        start += 4 + length
    if start > content.num_bytes:
        raise ValueError("a page ends within a value")
    return np.array([[number] * count, starts, lengths], dtype=np.int64).reshape(3, count).T


def _consecutive(number: int, start: int, lengths: NDArray[np.int64], count: int, end: int) -> Table:
    if len(lengths) != count or (lengths < 0).any() or (lengths > end).any() or start + lengths.sum() > end:
        raise ValueError("the lengths of a page's values are invalid")
    ends = start + np.cumsum(lengths)
    return np.stack([np.full(count, number, dtype=np.int64), ends - lengths, lengths], axis=1)


def _shared_lengths(data: bytes, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return how many bytes each value shares with the one before, how many it adds, and where the added ones start."""
    shared, position = differences(data, 0, count=count)
    added, position = differences(data, position, count=count)
    if len(shared) != count or len(added) != count or min(shared.min(initial=0), added.min(initial=0)) < 0:
        raise ValueError("the lengths of a page's values are invalid")
    total = shared.astype(np.float64).sum() + added.astype(np.float64).sum()
    if total > _MAX_JOINED_BYTES:
        raise RefusedError(
            f"a page has values of {total:,.0f} bytes; the limit of its encoding is {_MAX_JOINED_BYTES:,}"
        )
    return shared, added, position


def _joined(data: bytes, count: int) -> bytes:
    """Return, one after the other, the values of a page that stores how many bytes each shares with the one before."""
    shared, added, position = _shared_lengths(data, count)
    joined = bytearray()
    previous = b""
    for prefix, suffix in zip(shared.tolist(), added.tolist(), strict=True):
        if prefix > len(previous) or position + suffix > len(data):
            raise ValueError("the lengths of a page's values are invalid")
        previous = previous[:prefix] + data[position : position + suffix]
        position += suffix
        joined += previous
    return bytes(joined)
