"""Headers that several formats of photos share: EXIF orientation, and the container of WebP.

Each format's sanitiser (here, jpeg.py, png.py, tiff.py) walks its container without decoding anything, refuses truncated or
out-of-bounds data, reads the EXIF orientation, and returns the file without the parts that do not affect pixels (comments,
colour profiles, EXIF, later frames, trailing bytes). Damaged metadata can therefore neither fail a good photo nor cost memory.

Sanitisers raise UnusablePhotoError with a reason for the user; `decode` adds the name of the file.
"""

import struct
from typing import NamedTuple

from allmlp.data.decoding.limits import check_size
from allmlp.data.decoding.reasons import UnusablePhotoError

__all__ = ["SanitisedImage", "exif_orientation", "sanitise_webp"]

# Pillow's decoder of WebP takes 24 bytes per pixel: two canvases, their copy, and the image.
_MAX_WEBP_PIXELS = 24_000_000
_DENSE_BYTES = 1_000_000


class SanitisedImage(NamedTuple):
    """A photo file reduced to what its first frame needs; `size` is (width, height), `orientation` is EXIF's 1 to 8.

    `probe` is the same file with random bytes after each piece of its picture data: it decodes to the same pixels if and only
    if the data cover the picture. None if the sanitiser itself has checked that.
    """

    content: bytes
    size: tuple[int, int]
    orientation: int = 1
    probe: bytes | None = None


def sanitise_webp(content: bytes) -> SanitisedImage:
    """Read the canvas size of a WebP, which its decoder would allocate on opening, and drop trailing bytes.

    Raises:
        UnusablePhotoError: truncated, or an unknown kind of WebP.
    """
    end = 8 + int.from_bytes(content[4:8], "little")
    kind = content[12:16]
    if len(content) < 30 or end > len(content) + (end % 2):
        raise UnusablePhotoError("the WebP is cut short")
    if kind == b"VP8X":
        width = int.from_bytes(content[24:27], "little") + 1
        height = int.from_bytes(content[27:30], "little") + 1
    elif kind == b"VP8L" and content[20] == 0x2F:
        bits = int.from_bytes(content[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", content, 26))
    else:
        raise UnusablePhotoError("the WebP's header is damaged")
    check_size((width, height))
    if width * height > _MAX_WEBP_PIXELS and end < _DENSE_BYTES:
        raise UnusablePhotoError(
            f"the WebP claims {width} x {height} pixels but has only {end:,} bytes",
            advice="Save it as JPEG",
            fault="limit",
        )
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
