"""What has to be known of a photo file before a decoder may see it, read from its bytes alone.

Each reader below walks one container without decoding anything, refuses what is cut short or out of bounds, finds the
EXIF orientation, and returns the file without the parts that decide no pixel (comments, colour profiles, EXIF, later
frames, trailing bytes). So damaged metadata can neither fail a good photo nor cost memory.

They raise ValueError with a reason that a user can read; `decode` puts the file's name to it.
"""

import itertools
import re
import struct
import zlib
from typing import NamedTuple

__all__ = ["MAX_JPEG_SCANS", "SanitisedImage", "exif_orientation", "png_essentials", "sanitise_jpeg", "webp_essentials"]

# Encoders write about ten scans; a file of thousands takes seconds for each kilobyte (the "scan bomb").
MAX_JPEG_SCANS = 100

# Full segments of 64 KiB, such as those of a depth map, are 3,000 in the largest file; millions of empty ones would take
# minutes. PNG's encoders write chunks of 8 KiB or more: 25,000.
_MAX_JPEG_SEGMENTS = 10_000
_MAX_PNG_CHUNKS = 100_000

# The next marker in entropy-coded data: stuffed zeros (FF 00), restarts (FF D0..D7) and fill bytes (FF FF) are not.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FILL = re.compile(rb"\xff*(?=\xff)")  # fill bytes may precede a marker
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_UNSUPPORTED_FRAMES = {0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical"}


class SanitisedImage(NamedTuple):
    """`content` is the file with its first frame only; `size` is (width, height); `orientation` is EXIF's 1 to 8."""

    content: bytes
    size: tuple[int, int]
    orientation: int


def sanitise_jpeg(content: bytes) -> SanitisedImage:
    """Walk the markers of a JPEG up to its end-of-image marker.

    Raises:
        ValueError: cut short, a kind of JPEG that is not decoded (arithmetic, lossless, 12 bit), too many segments or
            scans, or fewer bytes than its size needs.
    """
    try:
        return _walk_jpeg(content)
    except (IndexError, struct.error) as error:
        raise ValueError("the JPEG is cut short inside its header") from error


def _walk_jpeg(content: bytes) -> SanitisedImage:
    kept = [content[:2]]
    size: tuple[int, int] | None = None
    orientation: int | None = None
    scans = 0
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
        if marker == 0xD9:  # end of image: what follows (a second frame, a video, a zip) is not this photo
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these stand alone
            position += 2
            continue
        segment = _jpeg_segment(content, position)
        position += len(segment)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if size is not None:
                raise ValueError("the JPEG is damaged: it holds two frame headers")
            size = _jpeg_frame_size(marker, segment)
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0" and orientation is None:
            orientation = exif_orientation(segment[4:])
        if _decides_pixels(marker):
            kept.append(segment)
        if marker == 0xDA:
            scans += 1
            if scans > MAX_JPEG_SCANS:
                raise ValueError(f"the JPEG has more than {MAX_JPEG_SCANS} scans; no camera or encoder writes so many")
            end = _end_of_scan(content, position)
            kept.append(content[position:end])
            position = end
    if size is None or scans == 0:
        raise ValueError("the JPEG holds no image")
    whole = b"".join([*kept, b"\xff\xd9"])
    _check_jpeg_length(len(whole), size)
    return SanitisedImage(whole, size, orientation or 1)


def _check_jpeg_length(num_bytes: int, size: tuple[int, int]) -> None:
    # Each 8x8 block of the finest component takes at least one bit of Huffman code, so no honest file is refused here.
    if num_bytes * 8 * 64 < size[0] * size[1]:
        raise ValueError(
            f"the JPEG says {size[0]} x {size[1]} pixels but has only {num_bytes:,} bytes: it is cut short or forged"
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


def _decides_pixels(marker: int) -> bool:
    # JFIF (E0) and Adobe (EE) segments say how colours are coded; those of other applications and comments (FE) do not.
    return marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE)


def _jpeg_frame_size(marker: int, segment: bytes) -> tuple[int, int]:
    if marker not in (0xC0, 0xC1, 0xC2):
        kind = _UNSUPPORTED_FRAMES.get(marker, "arithmetic-coded")
        raise ValueError(f"{kind} JPEG is not supported; save it as baseline or progressive JPEG")
    precision, height, width = struct.unpack_from(">BHH", segment, 4)
    if precision != 8:
        raise ValueError(f"JPEG of {precision} bits is not supported; save it with 8 bits")
    return width, height


def _is_dispensable(kind: bytes, checked: bytes) -> bool:
    """Say whether a photo decodes without a chunk; `checked` is what its checksum covers, and that."""
    if not kind[0] & 0x20 or kind == b"tRNS":  # a capital first letter: critical; tRNS says what shows
        return False
    is_sound = zlib.crc32(checked[:-4]) == int.from_bytes(checked[-4:], "big")
    return kind not in _TEXT or not is_sound


def png_essentials(content: bytes) -> SanitisedImage:
    """Walk the chunks of a PNG and leave those out that are not critical (colour profiles, EXIF, later frames, damaged text).

    Sound text stays: the decoder bounds what it may unpack to, and refuses a file that is made to exhaust memory.

    Raises:
        ValueError: cut short inside its header, or too many chunks.
    """
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise ValueError("the PNG is cut short inside its header")
    kept = []
    orientation = 1
    start = position = 8  # `start` opens the run of chunks that is kept as it is
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


def webp_essentials(content: bytes) -> SanitisedImage:
    """Read the size of a WebP's canvas, which its decoder would allocate on opening.

    Raises:
        ValueError: cut short, or not a WebP of a known kind.
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
    """Return the orientation 1 to 8 in an EXIF block; 1, "as it is", when there is none or the block is broken.

    Only the first directory is read and no offset in it is followed, so nothing else in the block (GPS, thumbnails,
    loops) is ever looked at.
    """
    while exif.startswith(b"Exif\0\0"):  # some writers put the prefix twice
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
