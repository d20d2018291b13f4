"""Files that are not photos, or broken ones: each is refused with 422."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

CASES = Path(__file__).parents[1] / "cases" / "photos"


def encoded(kind: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return content.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("photo.png", encoded("PNG"))
    return content.getvalue()


def broken_photos() -> Mapping[str, bytes]:
    """Return the files by name."""
    jpeg, png = encoded("JPEG"), encoded("PNG")
    changed = bytearray(png)
    changed[len(png) // 2] ^= 0xFF
    return {
        "one byte": b"\xff",
        "text": b"not a photo",
        "html": b"<!doctype html><script>alert(1)</script>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "zip": _zip(),
        "program": b"\x7fELF\x02\x01\x01" + bytes(100),
        "zeros": bytes(1000),
        "random": np.random.default_rng(1).bytes(1000),
        "cut jpeg": jpeg[: len(jpeg) // 2],
        "start of a jpeg": jpeg[:3],
        "cut png": png[: len(png) // 2],
        "changed png": bytes(changed),
        "png without pixels": _png(0, 0, b""),
        "png with a short picture": _png(100, 100, zlib.compress(bytes(10))),
        "bomb: png of 10^10 pixels": _png(100_000, 100_000, zlib.compress(bytes(1000))),
        "bomb: png of 3.6 * 10^9 pixels": _png(60_000, 60_000, zlib.compress(bytes(2**20), 9)),
        "bomb: panorama of 54 megapixels": (CASES / "panorama_54MP.png").read_bytes(),
        "bomb: bmp of 10^9 pixels": b"BM"
        + struct.pack("<IHHIIiiHH", 200, 0, 0, 54, 40, 32_000, 32_000, 1, 24)
        + bytes(128),
        "cut gif": encoded("GIF")[:200],
        "cut webp": encoded("WEBP")[:200],
        "cut tiff": encoded("TIFF")[:200],
        "video": b"\x00\x00\x00\x18ftypmp42" + bytes(100),
        "psd": b"8BPS\x00\x01" + bytes(100),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (r) file\n",
    }
