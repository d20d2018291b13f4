"""Sanitiser of PNG files: chunks that affect pixels, and rows that are all there."""

import itertools
import struct
import zlib

from allmlp.data.decoding.image_headers import SanitisedImage, exif_orientation
from allmlp.data.decoding.limits import MAX_SIDE, max_pixels
from allmlp.data.decoding.reasons import UnusablePhotoError

__all__ = ["check_png_rows", "sanitise_png"]

# The largest file has room for 25,000 PNG chunks of 8 KiB, the smallest that encoders write. Millions of empty ones would
# take minutes.
_MAX_PNG_CHUNKS = 100_000
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_UNPACKED_AT_ONCE = 2**20
# Data are unpacked twice, at some 200 MB per second. More than the largest photo has with 8 bits takes a large file.
_MAX_UNPACKED_RATIO = 100
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: the first column and row of each pass, and the steps between its columns and rows.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _is_dispensable(kind: bytes, checked: bytes) -> bool:
    """Return whether a photo decodes without a chunk; `checked` is its checksum, preceded by the bytes that it covers."""
    if not kind[0] & 0x20 or kind == b"tRNS":  # an upper-case first letter means critical; tRNS is transparency
        return False
    is_intact = zlib.crc32(checked[:-4]) == int.from_bytes(checked[-4:], "big")
    return kind not in _TEXT or not is_intact


def sanitise_png(content: bytes) -> SanitisedImage:
    """Walk the chunks of a PNG and drop those that are not critical (colour profiles, EXIF, later frames, damaged text).

    Intact text is kept: the decoder bounds its decompressed size, and refuses a file that would exhaust memory.

    Raises:
        UnusablePhotoError: truncated inside its header, or too many chunks.
    """
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise UnusablePhotoError("the PNG is cut short inside its header")
    kept = []
    orientation = 1
    start = position = 8  # `start` is the first byte not yet copied to `kept`
    for number in itertools.count():
        if number > _MAX_PNG_CHUNKS:
            raise UnusablePhotoError(
                f"the PNG has more than {_MAX_PNG_CHUNKS:,} chunks; no encoder writes so many", fault="limit"
            )
        if position + 12 > len(content):
            break
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if kind == b"eXIf" and end <= len(content):
            orientation = exif_orientation(content[position + 8 : end - 4])
        if _is_dispensable(kind, content[position + 4 : end]):
            kept.append(content[start:position])
            start = end
        position = end
        if kind == b"IEND":
            break
    kept.append(content[start:position])
    width, height = struct.unpack_from(">II", content, 16)
    return SanitisedImage(content[:8] + b"".join(kept), (width, height), orientation)


def check_png_rows(content: bytes) -> None:
    """Check that the data of a sanitised PNG unpack to all rows of its header; a decoder fills missing rows with black.

    Raises:
        UnusablePhotoError: rows are missing, or a small file claims hundreds of megabytes of them.
    """
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    bits_per_pixel = bits * _CHANNELS.get(colour, 1)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
    # Each row of a pass is preceded by one byte that names its filter.
    expected = sum(
        rows * (1 + -(-columns * bits_per_pixel // 8)) for columns, rows in sizes if columns > 0 and rows > 0
    )
    if expected > max(_MAX_UNPACKED_RATIO * len(content), 4 * max_pixels() + MAX_SIDE):
        raise UnusablePhotoError(
            f"its {len(content):,} bytes unpack to {expected // 1_000_000} MB, as no photo does",
            advice="If it is one, save it with 8 bits per sample",
            fault="limit",
        )
    if _unpacked_bytes(content, expected) < expected:
        raise UnusablePhotoError("the PNG is cut short: its data do not cover all rows of the picture")


def _unpacked_bytes(content: bytes, enough: int) -> int:
    unpacker = zlib.decompressobj()
    unpacked = 0
    position = 8
    try:
        while position + 12 <= len(content) and unpacked < enough and not unpacker.eof:
            length, kind = struct.unpack_from(">I4s", content, position)
            packed = content[position + 8 : position + 8 + length] if kind == b"IDAT" else b""
            while packed and unpacked < enough and not unpacker.eof:
                unpacked += len(unpacker.decompress(packed, _UNPACKED_AT_ONCE))
                packed = unpacker.unconsumed_tail
            position += 12 + length
    except zlib.error as error:
        raise UnusablePhotoError("the PNG is damaged: its data cannot be unpacked") from error
    return unpacked
