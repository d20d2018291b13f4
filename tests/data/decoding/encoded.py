"""Encoded photos, whole and forged, and the error of those that cannot be decoded."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from allmlp.data import decode
from allmlp.errors import DataError

RNG = np.random.default_rng(20210504)
# Flat 8 x 8 tiles: lossy formats keep them nearly, and every orientation of them is another picture.
TILES = np.kron(RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
PHOTO = Image.fromarray(TILES)
ORIENTATION = 0x0112


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, bits: int, colour: int, rows: bytes = b"", extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + data


def png_with_chunk(kind: bytes, content: bytes) -> bytes:
    whole = encode(PHOTO, "PNG")
    return whole[:33] + png_chunk(kind, content) + whole[33:]


def patched_frame_header(jpeg: bytes, *, height: int, width: int, marker: int | None = None, bits: int = 8) -> bytes:
    start = jpeg.index(b"\xff\xc0")
    header = bytes([0xFF, marker or 0xC0]) + jpeg[start + 2 : start + 4] + struct.pack(">BHH", bits, height, width)
    return jpeg[:start] + header + jpeg[start + 9 :]


def refusal(content: bytes, name: str = "some/photo.jpg") -> str:
    with pytest.raises(DataError) as caught:
        decode(content, name=name)
    message = str(caught.value)
    assert message.startswith(name)
    assert "\n" not in message
    return message
