"""Files that are not photos, or not whole ones, or beyond the limits, each with the kind of its fault; none is over 1 MB."""

import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from tests.data.decoding.encoded import PHOTO, encode, patched_frame_header, png, png_chunk, png_with_chunk

from allmlp.data import PhotoFault

CASES = Path(__file__).parents[2] / "cases" / "photos"
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("photo.png", encode(NOISE, "PNG"))
    return content.getvalue()


def _patched(**values: int) -> bytes:
    return patched_frame_header(encode(PHOTO, "JPEG"), **{"height": 48, "width": 72, **values})


def _of_other_formats() -> dict[str, bytes]:
    return {
        "an empty file": b"",
        "one byte": b"\xff",
        "text": b"not a photo",
        "html page": b"<!doctype html><script>alert(1)</script>",
        "json error page": b'{"error": "not found"}',
        "only the start of a jpeg": b"\xff\xd8",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (r) file\n",
        "psd": b"8BPS\x00\x01" + bytes(100),
        "fits": b"SIMPLE  =                    T",
        "icns": b"icns\0\0\0\x10",
        "zip": _zip(),
        "program": b"\x7fELF\x02\x01\x01" + bytes(100),
        "video": b"\x00\x00\x00\x18ftypmp42" + bytes(100),
        "zeros": bytes(1000),
        "random": np.random.default_rng(1).bytes(1000),
        "jpeg xl": b"\xff\x0a\xfa\x7f",
        "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
        "jpeg of 0 x 0 pixels": _patched(height=0, width=0),
        "arithmetic-coded jpeg": _patched(marker=0xC9),
        "lossless jpeg": _patched(marker=0xC3),
        "12-bit jpeg": _patched(marker=0xC1, bits=12),
    }


def _beyond_limits() -> dict[str, bytes]:
    progressive = encode(PHOTO, "JPEG", progressive=True)
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    jpeg = encode(PHOTO, "JPEG")
    bmp = struct.pack("<IHHIIiiHH", 200, 0, 0, 54, 40, 32_000, 32_000, 1, 24)
    return {
        "jpeg of 65,500 x 65,500 pixels": _patched(height=65_500, width=65_500),
        "jpeg of 9,000 x 9,000 pixels": _patched(height=9_000, width=9_000),
        "jpeg of fewer bytes than its pixels need": _patched(height=7_000, width=7_000),
        "jpeg of 1,000 scans": progressive[:-2] + last_scan * 1_000 + b"\xff\xd9",
        "jpeg of 20,000 segments": jpeg[:2] + b"\xff\xfe\0\2" * 20_000 + jpeg[2:],
        "png of 20,000 x 20,000 pixels": png(20_000, 20_000, bits=8, colour=2),
        "png of 10^10 pixels": png(100_000, 100_000, bits=8, colour=2, rows=bytes(1_000)),
        "solid png of 50 megapixels": png(7_100, 7_100, bits=8, colour=0, rows=bytes(7_101 * 7_100)),
        "panorama of 54 megapixels": (CASES / "panorama_54MP.png").read_bytes(),
        "png of 0 x 0 pixels": png(0, 0, bits=8, colour=2),
        "png that unpacks to 400 MB": png(7_070, 7_070, bits=16, colour=6, rows=bytes(1_000)),
        "png with 64 MB of text": png_with_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**26), 9)),
        "bmp of 10^9 pixels": b"BM" + bmp + bytes(128),
    }


def _damaged() -> dict[str, bytes]:
    jpeg, whole = encode(NOISE, "JPEG"), encode(NOISE, "PNG")
    flipped, wrong_crc = bytearray(whole), bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    wrong_crc[30] ^= 0xFF
    return {
        "jpeg cut in its header": jpeg[:100],
        "jpeg cut in half": jpeg[: len(jpeg) // 2],
        "jpeg without its last 200 bytes": jpeg[:-200],
        "jpeg without its end": jpeg[:-2],
        "png cut in half": whole[: len(whole) // 2],
        "png with a flipped byte": bytes(flipped),
        "png with a wrong checksum": bytes(wrong_crc),
        "png with missing rows": png(100, 100, bits=8, colour=2, rows=bytes(10)),
        "png without data": whole[:33] + png_chunk(b"IEND", b""),
        "cut gif": encode(NOISE, "GIF")[:200],
        "cut webp": encode(NOISE, "WEBP")[:200],
        "cut tiff": encode(NOISE, "TIFF")[:200],
        "tiff of samples without a range": encode(Image.new("F", (8, 8), 0.5), "TIFF"),
    }


@functools.cache
def faulty_photos() -> Mapping[str, tuple[PhotoFault, bytes]]:
    """Return the kind of the fault and the file, by name."""
    kinds: dict[PhotoFault, dict[str, bytes]] = {
        "format": _of_other_formats(),
        "limit": _beyond_limits(),
        "damaged": _damaged(),
    }
    return {name: (fault, content) for fault, files in kinds.items() for name, content in files.items()}
