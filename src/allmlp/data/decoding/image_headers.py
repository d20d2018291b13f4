"""Sanitisers of photo files: the size, the orientation, and the bytes that a decoder may see.

Each sanitiser walks one container without decoding anything, refuses truncated or out-of-bounds data, reads the EXIF
orientation, and returns the file without the parts that do not affect pixels (comments, colour profiles, EXIF, later
frames, trailing bytes). Damaged metadata can therefore neither fail a good photo nor cost memory.

They raise ValueError with a reason for the user; `decode` adds the name of the file.
"""

import itertools
import re
import struct
import zlib
from typing import NamedTuple

__all__ = ["MAX_JPEG_SCANS", "SanitisedImage", "exif_orientation", "sanitise_jpeg", "sanitise_png", "sanitise_webp"]

# Encoders write about ten scans; with thousands, decoding takes seconds per kilobyte (a "scan bomb").
MAX_JPEG_SCANS = 100

# The largest file has room for 3,000 full segments of 64 KiB (as of a depth map) or 25,000 PNG chunks of 8 KiB, the smallest
# that encoders write. Millions of empty ones would take minutes.
_MAX_JPEG_SEGMENTS = 10_000
_MAX_PNG_CHUNKS = 100_000

# The next marker after entropy-coded data, other than stuffed zeros (FF 00), restarts (FF D0..D7) and fill bytes (FF FF).
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FILL = re.compile(rb"\xff*(?=\xff)")  # fill bytes may precede a marker
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_UNSUPPORTED_FRAMES = {0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical"}


class SanitisedImage(NamedTuple):
    """A photo file reduced to what its first frame needs; `size` is (width, height), `orientation` is EXIF's 1 to 8."""

    content: bytes
    size: tuple[int, int]
    orientation: int


def sanitise_jpeg(content: bytes) -> SanitisedImage:
    """Walk the markers of a JPEG up to its end-of-image marker.

    Raises:
        ValueError: truncated, an unsupported kind of JPEG (arithmetic, lossless, 12-bit), too many segments or scans, or
            fewer bytes than its size needs.
    """
    try:
        return _walk_jpeg(content)
    except (IndexError, struct.error) as error:
        raise ValueError("the JPEG is cut short inside its header") from error


def _walk_jpeg(content: bytes) -> SanitisedImage:
    kept = [content[:2]]
    size: tuple[int, int] | None = None
    orientation: int | None = None
    num_scans = 0
    position = 2
    for number in itertools.count():
        if number > _MAX_JPEG_SEGMENTS:
            raise ValueError(
                f"the JPEG has more than {_MAX_JPEG_SEGMENTS:,} segments; no camera or encoder writes so many"
            )
        if fill := _FILL.match(content, position):
            position = fill.end()
        if content[position] != 0xFF:
            raise ValueError("the JPEG is damaged: a marker was expected")
        marker = content[position + 1]
        if marker == 0xD9:  # end of image; a second frame, a video or a zip may follow
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a segment
            position += 2
            continue
        segment = _jpeg_segment(content, position)
        position += len(segment)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if size is not None:
                raise ValueError("the JPEG is damaged: it has two frame headers")
            size = _jpeg_frame_size(marker, segment)
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0" and orientation is None:
            orientation = exif_orientation(segment[4:])
        if _affects_pixels(marker):
            kept.append(segment)
        if marker == 0xDA:
            num_scans += 1
            if num_scans > MAX_JPEG_SCANS:
                raise ValueError(f"the JPEG has more than {MAX_JPEG_SCANS} scans; no camera or encoder writes so many")
            end = _end_of_scan(content, position)
            kept.append(content[position:end])
            position = end
    if size is None or num_scans == 0:
        raise ValueError("the JPEG contains no image")
    sanitised = b"".join([*kept, b"\xff\xd9"])
    _check_jpeg_length(len(sanitised), size)
    return SanitisedImage(sanitised, size, orientation or 1)


def _check_jpeg_length(num_bytes: int, size: tuple[int, int]) -> None:
    # Each 8x8 block of the finest component takes at least one bit of Huffman code, so no valid file is refused here.
    if num_bytes * 8 * 64 < size[0] * size[1]:
        raise ValueError(
            f"the JPEG claims {size[0]} x {size[1]} pixels but has only {num_bytes:,} bytes: it is cut short or forged"
        )


def _jpeg_segment(content: bytes, position: int) -> bytes:
    end = position + 2 + struct.unpack_from(">H", content, position + 2)[0]
    if end > len(content) or end < position + 4:
        raise ValueError("the JPEG is cut short inside its header")
    return content[position:end]


def _end_of_scan(content: bytes, position: int) -> int:
    following = _MARKER.search(content, position)
    if following is None:
        raise ValueError("the JPEG is cut short: its end-of-image marker is missing")
    return following.start()


def _affects_pixels(marker: int) -> bool:
    # JFIF (E0) and Adobe (EE) segments define the colour space; other application segments and comments (FE) are metadata.
    return marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE)


def _jpeg_frame_size(marker: int, segment: bytes) -> tuple[int, int]:
    if marker not in (0xC0, 0xC1, 0xC2):
        kind = _UNSUPPORTED_FRAMES.get(marker, "arithmetic-coded")
        raise ValueError(f"{kind} JPEG is not supported; save it as baseline or progressive JPEG")
    precision, height, width = struct.unpack_from(">BHH", segment, 4)
    if precision != 8:
        raise ValueError(f"{precision}-bit JPEG is not supported; save it with 8 bits")
    return width, height


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
        ValueError: truncated inside its header, or too many chunks.
    """
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise ValueError("the PNG is cut short inside its header")
    kept = []
    orientation = 1
    start = position = 8  # `start` is the first byte not yet copied to `kept`
    for number in itertools.count():
        if number > _MAX_PNG_CHUNKS:
            raise ValueError(f"the PNG has more than {_MAX_PNG_CHUNKS:,} chunks; no encoder writes so many")
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


def sanitise_webp(content: bytes) -> SanitisedImage:
    """Read the canvas size of a WebP, which its decoder would allocate on opening, and drop trailing bytes.

    Raises:
        ValueError: truncated, or an unknown kind of WebP.
    """
    end = 8 + int.from_bytes(content[4:8], "little")
    kind = content[12:16]
    if len(content) < 30 or end > len(content) + (end % 2):
        raise ValueError("the WebP is cut short")
    if kind == b"VP8X":
        width = int.from_bytes(content[24:27], "little") + 1
        height = int.from_bytes(content[27:30], "little") + 1
    elif kind == b"VP8L" and content[20] == 0x2F:
        bits = int.from_bytes(content[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", content, 26))
    else:
        raise ValueError("the WebP's header is damaged")
    return SanitisedImage(content[:end], (width, height), _webp_orientation(content[:end]) if kind == b"VP8X" else 1)


def _webp_orientation(content: bytes) -> int:
    position = 12
    while position + 8 <= len(content):
        length = int.from_bytes(content[position + 4 : position + 8], "little")
        if content[position : position + 4] == b"EXIF":
            return exif_orientation(content[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return 1


def exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, of an EXIF block; 1 ("as stored") if it is missing or the block is broken.

    Only the first directory is read, and no offset in it is followed, so nothing else in the block (GPS, thumbnails,
    loops) is ever parsed.
    """
    while exif.startswith(b"Exif\0\0"):  # some writers repeat the prefix
        exif = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", exif, entry)
            if tag == 0x0112:
                letter = {1: "B", 3: "H", 4: "I"}[kind]
                (value,) = struct.unpack_from(order + letter, exif, entry + 8)
                return int(value) if number == 1 and 1 <= value <= 8 else 1
    except (struct.error, KeyError):
        pass
    return 1
