"""Parquet's encodings of integers: runs, packed bits and differences, never more values than the caller expects."""

import numpy as np
from numpy.typing import NDArray

from allmlp.io.thrift import read_varint

__all__ = ["differences", "runs"]

_MASK = 2**64 - 1  # of sums, which wrap around


def runs(data: bytes, position: int, *, width: int, count: int) -> NDArray[np.int64]:
    """Decode `count` integers of `width` bits: runs of one value, or packed bits ("RLE/bit-packed hybrid").

    Raises:
        ValueError, IndexError: the data are damaged or end too early.
    """
    if width > 32:
        raise ValueError(f"integers of {width} bits; expected at most 32")
    values = np.empty(count, dtype=np.int64)
    filled = 0
    while filled < count:
        header, position = read_varint(data, position)
        if header & 1:
            taken = min((header >> 1) * 8, count - filled)
            values[filled : filled + taken] = _packed(data, position, width=width, count=taken).view(np.int64)
            position += (header >> 1) * width
        else:
            taken = min(header >> 1, count - filled)
            num_bytes = (width + 7) // 8
            values[filled : filled + taken] = int.from_bytes(data[position : position + num_bytes], "little")
            position += num_bytes
        filled += taken
    return values


def differences(data: bytes, position: int, *, count: int) -> tuple[NDArray[np.int64], int]:
    """Decode at most `count` integers stored as differences ("DELTA_BINARY_PACKED"), and return the position after them.

    Sums wrap around at 64 bits, as the format says.

    Raises:
        ValueError, IndexError: the data are damaged, end too early, or have more values.
    """
    block_size, position = read_varint(data, position)
    num_parts, position = read_varint(data, position)
    total, position = read_varint(data, position)
    first, position = _signed(data, position)
    if total > count or num_parts == 0 or block_size % num_parts or block_size == 0:
        raise ValueError("the header of stored differences is damaged")
    steps = [np.array([first & _MASK] if total else [], dtype=np.uint64)]
    part_size, remaining = block_size // num_parts, total - 1
    while remaining > 0:
        least, position = _signed(data, position)
        widths = data[position : position + num_parts]
        position += num_parts
        if not widths:
            raise IndexError("cut short")
        for width in widths:
            if remaining <= 0:
                break
            taken = min(part_size, remaining)
            steps.append(_packed(data, position, width=width, count=taken) + np.uint64(least & _MASK))
            position += part_size * width // 8
            remaining -= taken
    return np.cumsum(np.concatenate(steps), dtype=np.uint64).view(np.int64), position


def _signed(data: bytes, position: int) -> tuple[int, int]:
    value, position = read_varint(data, position)
    return (value >> 1) ^ -(value & 1), position


def _packed(data: bytes, position: int, *, width: int, count: int) -> NDArray[np.uint64]:
    if width > 64:
        raise ValueError(f"integers of {width} bits; expected at most 64")
    packed = np.frombuffer(data[position : position + (count * width + 7) // 8], dtype=np.uint8)
    bits = np.unpackbits(packed, bitorder="little")
    if len(bits) < count * width:
        raise IndexError("cut short")
    columns = bits[: count * width].reshape(count, width)
    values = np.zeros(count, dtype=np.uint64)
    for bit in range(width):
        values |= columns[:, bit].astype(np.uint64) << np.uint64(bit)
    return values
