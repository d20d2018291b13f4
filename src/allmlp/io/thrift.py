"""Structs in Thrift's compact protocol, as in Parquet's page headers, read from untrusted bytes."""

import struct
from typing import Any

__all__ = ["read_struct", "read_varint"]

_MAX_DEPTH = 16
_TRUE, _FALSE, _BYTE, _INT16, _INT32, _INT64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


def read_struct(data: bytes, *, depth: int = 0, position: int = 0) -> tuple[dict[int, Any], int]:
    """Return the fields of the struct at `position`, by their numbers, and the position after it.

    Time and memory are linear in the bytes read. Integers, booleans, bytes, lists and structs are returned.

    Raises:
        ValueError: the struct is damaged, nested too deeply, or has maps.
        IndexError: the bytes end within the struct.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("a header is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[position]:
        position += 1
        delta, kind = kind >> 4, kind & 0xF
        if delta:
            number += delta
        else:
            number, position = _integer(data, position)
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], position = _value(data, position, kind, depth)
    return fields, position + 1


def _value(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_BYTE, _TRUE, _FALSE):  # in lists, a boolean takes one byte
        return data[position], position + 1
    if kind in (_INT16, _INT32, _INT64):
        return _integer(data, position)
    if kind == _DOUBLE:
        return struct.unpack_from("<d", _bytes(data, position, 8))[0], position + 8
    if kind == _BINARY:
        length, position = read_varint(data, position)
        return _bytes(data, position, length), position + length
    if kind in (_LIST, _SET):
        size, kind = data[position] >> 4, data[position] & 0xF
        position += 1
        if size == 15:
            size, position = read_varint(data, position)
        values = []
        for _ in range(size):  # each takes at least one byte, so that this ends with the bytes
            value, position = _value(data, position, kind, depth + 1)
            values.append(value)
        return values, position
    if kind == _STRUCT:
        return read_struct(data, depth=depth + 1, position=position)
    raise ValueError(f"a header has a field of the unknown type {kind}")


def _bytes(data: bytes, position: int, length: int) -> bytes:
    if position + length > len(data):
        raise IndexError("cut short")
    return data[position : position + length]


def _integer(data: bytes, position: int) -> tuple[int, int]:
    value, position = read_varint(data, position)
    return (value >> 1) ^ -(value & 1), position


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the unsigned integer at `position`, in groups of 7 bits, and the position after it. Raises as `read_struct`."""
    value = shift = 0
    while shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a header has an integer of more than 64 bits")
