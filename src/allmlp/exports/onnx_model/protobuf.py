"""Protocol Buffers' wire format, read from untrusted bytes without a copy, and written."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["Field", "encode_field", "encode_message", "field_extent", "read_fields", "read_integers"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class Field(NamedTuple):
    """A field of a message: its number, its value, and all its bytes with its tag.

    `integer` is the value of a number (an unsigned integer of its bits), else -1; `content` that of text, bytes or a message.
    """

    number: int
    integer: int
    content: memoryview
    raw: memoryview

    @property
    def text(self) -> str:
        """The content as text; bytes that are not UTF-8 become U+FFFD."""
        return bytes(self.content).decode("utf-8", "replace")


def read_fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in their order. Time is linear in the number of fields, not in their size.

    Raises:
        ValueError: damaged, cut short, or with groups, which nobody writes any more.
    """
    position, end, nothing = 0, len(message), message[:0]
    while position < end:
        start = position
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        integer, content = -1, nothing
        if kind == _VARINT:
            integer, position = _varint(message, position)
        elif kind == _BYTES:
            length, position = _varint(message, position)
            content = message[position : position + length]
            position += length
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
            integer = int.from_bytes(message[position : position + size], "little")
            position += size
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if position > end:
            raise ValueError("it is cut short")
        yield Field(number, integer, content, message[start:position])


def field_extent(head: memoryview) -> tuple[int, int, int]:
    """Return the number of the field that begins with `head`, and where its content starts and ends.

    Raises:
        ValueError: damaged, or with groups.
    """
    tag, start = _varint(head, 0)
    kind = tag & 7
    if kind == _BYTES:
        length, start = _varint(head, start)
        return tag >> 3, start, start + length
    if kind == _VARINT:
        return tag >> 3, start, _varint(head, start)[1]
    if kind in (_FIXED32, _FIXED64):
        return tag >> 3, start, start + (4 if kind == _FIXED32 else 8)
    raise ValueError(f"a field of the unknown kind {kind}")


def read_integers(field: Field) -> list[int]:
    """Return the integers of a repeated field: one, or several packed into bytes."""
    if field.integer >= 0:
        return [field.integer]
    integers, position = [], 0
    while position < len(field.content):
        integer, position = _varint(field.content, position)
        integers.append(integer)
    return integers


def encode_field(number: int, content: bytes | memoryview) -> list[bytes | memoryview]:
    """Return the bytes of a field of text, bytes or a message, in parts to join."""
    return [_encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)), content]


def encode_message(number: int, parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """Return the bytes of a field that holds a message of these parts, without joining them: they may be gigabytes."""
    return [_encode_varint(number << 3 | _BYTES) + _encode_varint(sum(map(len, parts))), *parts]


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("a number is damaged or cut short")


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
