"""Checks of TIFF files before and after Pillow has read their directory, but before any pixel is decoded."""

import contextlib
import ctypes
import functools
import math
import random
import struct
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from PIL import _imaging
from PIL.TiffImagePlugin import TiffImageFile

from allmlp.data.decoding.limits import max_pixels
from allmlp.data.decoding.quietly import quietly
from allmlp.data.decoding.reasons import UnusablePhotoError

__all__ = ["StoredTiffFile", "TiffPiece", "check_tiff", "check_tiff_directory", "fax_probes", "is_fax", "jpeg_pieces"]

_MAX_PIECES = 70_000  # strips or tiles: a strip for each of 65,535 rows; Pillow takes a step of Python for each
_WIDTH, _HEIGHT = 256, 257  # as stored, not upright
_BITS, _STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANAR = 258, 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_ORIENTATION = 274
_COMPRESSION, _JPEG, _JPEG_TABLES = 259, 7, 347
# libtiff fills missing data of JPEG without an error, so that each piece is decoded once more, which takes up to a millisecond.
_MAX_DECODED_PIECES = 4_096
_FAX = (2, 3, 4, 32771)
_GROUP_3_OPTIONS, _GROUP_4_OPTIONS = 292, 293
_PHOTOMETRIC, _FILL_ORDER = 262, 266
_FAX_TAGS = (_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIP_ROWS, _GROUP_3_OPTIONS, _GROUP_4_OPTIONS)
# Random codes of black and white runs. They begin with three zeros, because a byte of zeros that is cut off may have had those
# that end the last code word. After damage, group 3 goes on at the next end of line, here in both orders of bits.
_RANDOM = random.Random(0)
_CODES = tuple(bytes([first, *(_RANDOM.randrange(16, 256) for _ in range(63))]) for first in (0x1F, 0x12))
_END_OF_LINE = b"\0\x10\x01\0\x08\x80"
_MISSING = "the TIFF is cut short: strips or tiles of the picture are missing"
_SHORT = 3
_OF_SENSORS = (32803, 34892)  # a colour filter array, or linear raw values
_OF_CAMERAS = (32767, 32769, 32770, 34713, 34892, 65000, 65535)  # Sony, Epson, Samsung, Nikon, lossy DNG, Kodak, Pentax
_SUBFILE_TYPE, _SUB_DIRECTORIES, _LAST_BASELINE_TAG, _DNG_VERSION = 254, 330, 532, 50706


class StoredTiffFile(TiffImageFile):
    """Pillow's reader without what may fail in a good photo: its metadata, and warnings about its size."""

    def load_prepare(self) -> None:
        """Allocate the pixels."""
        _silence_libtiff()
        with quietly():
            super().load_prepare()

    def load_end(self) -> None:
        """Leave the pixels as they are stored; see `orientation`."""
        self._size = self.im.size  # until now, the size of the upright photo

    def orientation(self) -> int:
        """Return the EXIF orientation, 1 to 8; 1 if it is missing or broken."""
        value = self.tag_v2.get(_ORIENTATION)
        return value if isinstance(value, int) else 1


@functools.cache
def _silence_libtiff() -> None:
    """Keep libtiff from writing on standard error, which would not name the photo: Pillow reports its failures.

    Its handlers belong to the process. They are reached through Pillow's own library; where that does not export them, as on
    Windows, libtiff stays as it is.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetWarningHandler", "TIFFSetErrorHandler"):
            handler = getattr(library, name)
            handler.restype = ctypes.c_void_p
            handler(None)


def check_tiff_directory(content: bytes) -> None:
    """Check the first directory of a TIFF without reading its values.

    Raises:
        UnusablePhotoError: a RAW photo, or lists of more entries than a photo needs, which would take minutes to read.
    """
    order = "<" if content[:2] == b"II" else ">"
    is_big = content[2:4] in (b"+\0", b"\0+")
    start, count, entry = (8, "Q", "HHQ") if is_big else (4, "H", "HHI")
    try:
        (directory,) = struct.unpack_from(order + ("Q" if is_big else "I"), content, start)
        (num_entries,) = struct.unpack_from(order + count, content, directory)
        first = directory + struct.calcsize(order + count)
        step = 20 if is_big else 12
        entries = [
            (*struct.unpack_from(order + entry, content, position), position + struct.calcsize(order + entry))
            for position in range(first, first + step * min(num_entries, 4096), step)
        ]
    except struct.error as error:
        raise UnusablePhotoError("the TIFF is cut short inside its header") from error
    byte_order: Literal["little", "big"] = "little" if order == "<" else "big"
    tags = {
        tag: int.from_bytes(content[position : position + (2 if kind == _SHORT else 4)], byte_order)
        for tag, kind, _, position in entries
    }
    if (
        _DNG_VERSION in tags
        or (tags.get(_SUBFILE_TYPE) and _SUB_DIRECTORIES in tags)
        or tags.get(_PHOTOMETRIC) in _OF_SENSORS
        or tags.get(_COMPRESSION) in _OF_CAMERAS
    ):
        raise UnusablePhotoError("this is a RAW photo of a camera", advice="Save it as JPEG or TIFF", fault="format")
    for tag, _, number, _ in entries:
        if tag <= _LAST_BASELINE_TAG and number > _MAX_PIECES:
            raise UnusablePhotoError(
                f"the TIFF has a list of {number:,} entries in its header; the limit is {_MAX_PIECES:,}",
                fault="limit",
            )


def check_tiff(image: TiffImageFile, num_bytes: int) -> None:
    """Check that a TIFF's tiles are not larger than a photo, and that uncompressed data cover the picture.

    libtiff itself refuses compressed data with an empty strip or tile, but not a list that is too short.

    Raises:
        UnusablePhotoError: tiles beyond the limit, or missing, empty or shared strips or tiles.
    """
    tags = image.tag_v2
    # libtiff decompresses whole tiles, even if only a small part is inside the photo.
    width, height = (tags.get(tag) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
    if isinstance(width, int) and isinstance(height, int) and width * height > max_pixels():
        raise UnusablePhotoError(
            f"its tiles have {width} x {height} pixels; the limit is {max_pixels():,}", fault="limit"
        )
    num_planes = tags.get(_SAMPLES, 1) if tags.get(_PLANAR) == 2 else 1
    if _num_listed(tags) < _num_pieces(tags) * num_planes:
        raise UnusablePhotoError(_MISSING)
    if not image.tile or image.tile[0].codec_name != "raw":
        return
    offsets = [tile.offset for tile in image.tile]
    boxes = [tile.extents for tile in image.tile if tile.extents is not None]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    num_bytes_each: tuple[int, ...] = tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or ()
    num_pixels = image.size[0] * image.size[1]
    bits: tuple[int, ...] = tags.get(_BITS) or (1,)
    needed = num_pixels * sum(bits) // 8
    if (
        covered < num_pixels * num_planes
        or min(offsets) < 8
        or len(set(offsets)) < len(offsets)
        or (len(offsets) > 1 and 0 in num_bytes_each)
        or 0 < sum(num_bytes_each) < needed
        or needed > num_bytes
    ):
        raise UnusablePhotoError(_MISSING)


def _num_listed(tags: Any) -> int:
    """Return the number of strips or tiles whose offsets are listed."""
    offsets = tags.get(_TILE_OFFSETS) or tags.get(_STRIP_OFFSETS) or ()
    return len(offsets) if isinstance(offsets, tuple) else 1


def _num_pieces(tags: Any) -> int:
    """Return the number of strips or tiles that one plane of the picture needs; 0 if sizes are missing or not positive."""
    whole = tags.get(_WIDTH), tags.get(_HEIGHT)
    piece = (
        (tags.get(_TILE_WIDTH), tags.get(_TILE_HEIGHT))
        if _TILE_OFFSETS in tags
        else (whole[0], tags.get(_STRIP_ROWS, whole[1]))
    )
    if not all(isinstance(side, int) and side > 0 for side in (*whole, *piece)):
        return 0
    return math.prod(-(-side // part) for side, part in zip(whole, piece, strict=True))


class TiffPiece(NamedTuple):
    """The data of a strip or tile, the (width, height) of the picture that they have to cover, and the most they may cover."""

    data: bytes
    size: tuple[int, int]
    largest: tuple[int, int]


def _pieces(image: TiffImageFile, content: bytes) -> Iterator[TiffPiece]:
    """Yield the strips or tiles of a TIFF that `check_tiff` has checked, plane by plane. Raises UnusablePhotoError if there are
    too many to decode each.
    """
    tags = image.tag_v2
    is_tiled = _TILE_OFFSETS in tags
    offsets, counts = (
        tags.get(tag, ()) for tag in ((_TILE_OFFSETS, _TILE_BYTES) if is_tiled else (_STRIP_OFFSETS, _STRIP_BYTES))
    )
    if len(offsets) > _MAX_DECODED_PIECES:
        raise UnusablePhotoError(
            f"the TIFF has {len(offsets):,} strips or tiles of JPEG; the limit is {_MAX_DECODED_PIECES:,}",
            advice="Save it as JPEG or PNG",
            fault="limit",
        )
    width, height = tags[_WIDTH], tags[_HEIGHT]
    rows = min(tags.get(_STRIP_ROWS, height), height)
    for number, (offset, count) in enumerate(zip(offsets, counts, strict=False)):
        if is_tiled:
            size = largest = tags[_TILE_WIDTH], tags[_TILE_HEIGHT]
        else:
            top = number % -(-height // rows) * rows
            size, largest = (width, min(rows, height - top)), (width, tags.get(_STRIP_ROWS, height))
        yield TiffPiece(content[offset : offset + count], size, largest)


def jpeg_pieces(image: TiffImageFile, content: bytes) -> Iterator[TiffPiece]:
    """Yield each strip or tile of a JPEG-compressed TIFF, its data as a JPEG file of its own; nothing for other compressions.

    Raises:
        UnusablePhotoError: too many pieces.
    """
    if image.tag_v2.get(_COMPRESSION) != _JPEG:
        return
    tables = image.tag_v2.get(_JPEG_TABLES, b"")
    shared = tables[:-2] if isinstance(tables, bytes) and tables.endswith(b"\xff\xd9") else b"\xff\xd8"
    for piece in _pieces(image, content):
        yield piece._replace(data=shared + piece.data[2:])


def is_fax(image: TiffImageFile) -> bool:
    """Return whether a TIFF is compressed as fax machines do."""
    return image.tag_v2.get(_COMPRESSION) in _FAX


def fax_probes(image: TiffImageFile, content: bytes) -> list[bytes]:
    """Return the same picture as other TIFFs, with other bytes after the data of each strip or tile, in place of zeros.

    libtiff fills missing lines with white, without an error, and reads no further than the lines of the picture. The probes
    decode to the same pixels if the data cover the picture. If not, one of them decodes to others, unless both happen to
    continue the last code word with an invalid one: of 1,800 small pictures with a strip cut anywhere, 42 were not noticed.
    Nor are bytes that are valid codes in place of the data.
    """
    return [_probe(image, content, codes + _END_OF_LINE + codes) for codes in _CODES]


def _probe(image: TiffImageFile, content: bytes, after: bytes) -> bytes:
    tags: Any = image.tag_v2
    offsets_tag, counts_tag = (_TILE_OFFSETS, _TILE_BYTES) if _TILE_OFFSETS in tags else (_STRIP_OFFSETS, _STRIP_BYTES)
    offsets = _numbers(tags.get(offsets_tag))
    counts = _numbers(tags.get(counts_tag)) or (len(content),)  # libtiff takes the rest of the file, too
    pieces = [
        content[start : start + count].rstrip(b"\0") + after for start, count in zip(offsets, counts, strict=False)
    ]
    values: dict[int, tuple[int, ...]] = {
        tag: (int(tags[tag]),) for tag in (*_FAX_TAGS, _TILE_WIDTH, _TILE_HEIGHT) if isinstance(tags.get(tag), int)
    }
    values[_BITS] = (1,)
    start = 8 + 2 + 12 * (len(values) + 2) + 4
    first = start + 8 * len(pieces)
    ends = [first]
    for piece in pieces:
        ends.append(ends[-1] + len(piece))
    values[offsets_tag], values[counts_tag] = tuple(ends[:-1]), tuple(map(len, pieces))
    lists, entries = b"", b""
    for tag, numbers in sorted(values.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        place = packed if len(numbers) == 1 else struct.pack("<I", start + len(lists))
        lists += b"" if len(numbers) == 1 else packed
        entries += struct.pack("<HHI", tag, 4, len(numbers)) + place
    header = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + bytes(4)
    return b"".join([header, lists.ljust(first - start, b"\0"), *pieces])


def _numbers(value: object) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) if isinstance(value, int) else ()
