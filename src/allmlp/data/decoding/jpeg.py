"""Sanitiser of JPEG files: markers, sizes, and picture data that cover the picture.

libjpeg fills missing data with grey without an error, so completeness is checked in three ways here: the scans have every
coefficient of every component at full precision; restart markers are complete and in order; and, for the data between
them, a `probe` is made. It has random bytes at each end of the data. libjpeg never reads them if the data are complete;
otherwise, it decodes them to other pixels than its own filling.

Decoding twice would halve the speed of most photos, so larger files with one scan and no restart markers, as cameras write
them, are decoded once, with eight bytes in place of the end-of-image marker: as many as libjpeg reads ahead. If the data end
before the picture, it asks for more and Pillow reports a truncated file. The eight bytes are mostly ones: in a Huffman
table those are long codes, of which so few end no block. A cut of a few bytes may still go unnoticed.
"""

import itertools
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from allmlp.data.decoding.image_headers import SanitisedImage, exif_orientation
from allmlp.data.decoding.limits import check_size, max_pixels
from allmlp.data.decoding.reasons import UnusablePhotoError

__all__ = ["VerifiedJpeg", "sanitise_jpeg", "verified_jpeg"]

# Encoders write about ten scans; with thousands, decoding takes seconds per kilobyte (a "scan bomb").
_MAX_JPEG_SCANS = 100
# Pixels times scans, in the largest photos: ten scans and a few more; in a file with few bytes for so many, eight.
_MAX_FULL_SCANS, _MAX_FULL_SCANS_OF_FEW_BYTES, _FEW_BYTES = 12, 8, 1_000_000
# The largest file has room for 3,000 full segments of 64 KiB (as of a depth map). Millions of empty ones would take minutes.
_MAX_JPEG_SEGMENTS = 10_000

# The next marker, other than stuffed zeros (FF 00) and fill bytes (FF FF); within a scan, other than restarts (FF D0..D7).
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
_UNSUPPORTED_FRAMES = {0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical"}
_PROBE = bytes.fromhex(
    "b7 1d 9e 43 e8 5a 2c f1 76 0d a3 94 58 cb 6f 31 d2 8c 17 e5 4b 9a 60 fc 35 c6 72 0b ad 59 e4 16"
)
_END = b"\xff\xd9"
_READ_AHEAD = b"\xfe" * 8  # libjpeg's buffer has 64 bits
_DECODED_TWICE = 32_768  # bytes of picture data: below this, a second decoding costs a fraction of a millisecond


class _Frame(NamedTuple):
    """A frame header: the size, and by component its sampling factors (horizontal, vertical)."""

    size: tuple[int, int]
    sampling: dict[int, tuple[int, int]]
    is_progressive: bool


class _Scans:
    """What the scans of a JPEG contain: for each component, the lowest known bit of each of its 64 coefficients."""

    def __init__(self, frame: _Frame, *, num_bytes: int) -> None:
        self.frame = frame
        self.num_scans = 0
        num_full = _MAX_FULL_SCANS if num_bytes > _FEW_BYTES else _MAX_FULL_SCANS_OF_FEW_BYTES
        self._limit = min(_MAX_JPEG_SCANS, num_full * max_pixels() // max(1, frame.size[0] * frame.size[1]))
        self._lowest: dict[int, list[int | None]] = {component: [None] * 64 for component in frame.sampling}

    def add(self, header: bytes, data: bytes, restart_interval: int) -> None:
        """Note one scan. Raises UnusablePhotoError if there are too many, or if it lacks restart markers."""
        self.num_scans += 1
        width, height = self.frame.size
        if self.num_scans > self._limit:
            raise UnusablePhotoError(
                f"the JPEG has more than {self._limit} scans of {width} x {height} pixels",
                advice="Save it as baseline JPEG",
                fault="limit",
            )
        components = [header[5 + 2 * index] for index in range(header[4])]
        first, last, bits = struct.unpack_from("BBB", header, 5 + 2 * len(components))
        for component in components:
            lowest = self._lowest.get(component)
            if lowest is None:
                raise UnusablePhotoError("the JPEG is damaged: a scan names an unknown component")
            start, end, low = (first, last, bits & 15) if self.frame.is_progressive else (0, 63, 0)
            lowest[start : end + 1] = [low] * len(lowest[start : end + 1])
        self._check_length(components, data, is_ac=self.frame.is_progressive and first > 0)
        if restart_interval:
            self._check_restarts(data, -(-self._num_units(components) // restart_interval) - 1)

    def check_complete(self) -> None:
        """Raise UnusablePhotoError if a coefficient of a component is missing or known only roughly."""
        if any(low != 0 for lowest in self._lowest.values() for low in lowest):
            raise UnusablePhotoError("the JPEG is cut short: scans of the picture are missing")

    def _num_units(self, components: list[int]) -> int:
        """Return the number of units (MCUs) in a scan of these components."""
        most = [max(factors[axis] for factors in self.frame.sampling.values()) for axis in (0, 1)]
        sides = list(self.frame.size)
        if len(components) == 1:  # not interleaved: a unit is one block
            factors = self.frame.sampling[components[0]]
            sides = [-(-side * factor // top) for side, factor, top in zip(sides, factors, most, strict=True)]
            most = [1, 1]
        columns, rows = (-(-side // (8 * factor)) for side, factor in zip(sides, most, strict=True))
        return int(columns * rows)

    def _check_length(self, components: list[int], data: bytes, *, is_ac: bool) -> None:
        # Each block takes at least one bit for its mean and, if not progressive, one for the end of its other coefficients.
        factors = [self.frame.sampling[component] for component in components]
        blocks_per_unit = sum(across * down for across, down in factors) if len(components) > 1 else 1
        num_bits = self._num_units(components) * blocks_per_unit * (1 if self.frame.is_progressive else 2)
        if is_ac or len(data) * 4 >= num_bits:  # at most half of the bytes are stuffed zeros, which take time to count
            return
        num_bytes = len(data) - data.count(b"\xff\0")
        if num_bytes * 8 < num_bits:
            width, height = self.frame.size
            raise UnusablePhotoError(
                f"the JPEG claims {width} x {height} pixels but has only {num_bytes:,} bytes in a scan: "
                "it is cut short or forged",
                fault="limit",
            )

    def _check_restarts(self, data: bytes, expected: int) -> None:
        found = itertools.islice(_RESTART.finditer(data), expected)
        numbers = bytes(data[match.end() - 1] & 7 for match in found)
        if numbers != (bytes(range(8)) * (expected // 8 + 1))[:expected]:
            raise UnusablePhotoError(
                "the JPEG is cut short: parts of its picture data between restart markers are missing"
            )


def sanitise_jpeg(content: bytes) -> SanitisedImage:
    """Walk the markers of a JPEG up to the end of its image. Bytes between segments are passed over, as in libjpeg.

    Raises:
        UnusablePhotoError: truncated, an unsupported kind of JPEG (arithmetic, lossless, 12-bit), too many segments or
            scans, or fewer scans, restart markers or bytes than its size needs.
    """
    try:
        return _walk(content)
    except (IndexError, struct.error) as error:
        raise UnusablePhotoError("the JPEG is cut short inside its header") from error


class VerifiedJpeg(NamedTuple):
    """A whole JPEG, without the parts of its header that do not affect pixels.

    `start` ends before the number of rows in the frame header, `rest` follows it; `unit_rows` is the height of a unit (MCU) if
    rows can be left out, else None.
    """

    size: tuple[int, int]
    orientation: int
    start: bytes
    rest: tuple[bytes | memoryview, ...]
    unit_rows: int | None

    def content(self, bottom: int) -> bytes:
        """Return a JPEG without the rows far below `bottom`, in which those from 0 to `bottom` have their own pixels.

        Only its header says so: libjpeg passes over the data of the other rows. One unit more is decoded, because chroma is
        interpolated between rows.
        """
        rows = self.size[1]
        if self.unit_rows is not None:
            rows = min(rows, (-(-bottom // self.unit_rows) + 1) * self.unit_rows)
        return b"".join([self.start, struct.pack(">H", rows), *self.rest, _END])


def verified_jpeg(content: bytes) -> VerifiedJpeg | None:
    """Read the header of a JPEG that `sanitise_jpeg` and a decoder have accepted before; None if it is progressive.

    The data of its picture are not looked at, which is most of the work of `sanitise_jpeg`.
    """
    kept, position, orientation = [content[:2]], 2, None
    frame: _Frame | None = None
    number_of_frame = 0
    while (following := _MARKER.search(content, position)) is not None:
        position, marker = following.start(), content[following.start() + 1]
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a segment
            position += 2
            continue
        segment = _segment(content, position)
        position += len(segment)
        if _is_frame(marker):
            frame, number_of_frame = _frame(marker, segment), len(kept)
            if frame.is_progressive:
                return None
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0" and orientation is None:
            orientation = exif_orientation(segment[4:])
        if _affects_pixels(marker):
            kept.append(segment)
        if marker == 0xDA and frame is not None:
            header = kept[number_of_frame]
            start = b"".join([*kept[:number_of_frame], header[:5]])
            rest: tuple[bytes | memoryview, ...] = (
                header[7:],
                *kept[number_of_frame + 1 :],
                memoryview(content)[position:],
            )
            is_one_scan = segment[4] == len(frame.sampling)
            unit_rows = 8 * max(down for _, down in frame.sampling.values()) if is_one_scan else None
            return VerifiedJpeg(frame.size, orientation or 1, start, rest, unit_rows)
    return None


def _walk(content: bytes) -> SanitisedImage:
    kept: list[bytes] = [content[:2]]
    scan_numbers = []  # of the pieces of `kept` that are the data of scans
    scans: _Scans | None = None
    orientation: int | None = None
    restart_interval = 0
    data = b""
    for marker, segment, scan_data in _segments(content):
        if _is_frame(marker):
            if scans is not None:
                raise UnusablePhotoError("the JPEG is damaged: it has two frame headers")
            scans = _Scans(_frame(marker, segment), num_bytes=len(content))
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0" and orientation is None:
            orientation = exif_orientation(segment[4:])
        if marker == 0xDD:
            (restart_interval,) = struct.unpack_from(">H", segment, 4)
        if _affects_pixels(marker):
            kept.append(segment)
        if scan_data is not None and scans is not None:
            data = scan_data
            scans.add(segment, data, restart_interval)
            scan_numbers.append(len(kept))
            kept.append(data)
    if scans is None or scans.num_scans == 0:
        raise UnusablePhotoError("the JPEG contains no image")
    scans.check_complete()
    is_simple = scans.num_scans == 1 and not scans.frame.is_progressive and not restart_interval and kept[-1] is data
    if is_simple and len(data) > _DECODED_TWICE:
        # Without a probe, the bytes that libjpeg reads ahead end the file.
        return SanitisedImage(b"".join([*kept, _READ_AHEAD]), scans.frame.size, orientation or 1, None)
    sanitised = b"".join([*kept, _END])
    return SanitisedImage(sanitised, scans.frame.size, orientation or 1, _probe(kept, scan_numbers))


def _probe(kept: list[bytes], scan_numbers: list[int]) -> bytes:
    probe = list(kept)
    for number in scan_numbers:
        probe[number] = _RESTART.sub(lambda restart: _PROBE + restart.group(), kept[number]) + _PROBE
    return b"".join([*probe, _END])


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yield each segment up to the end of the image: its marker, its bytes, and if it is a scan's, the data that follow."""
    position = 2
    has_frame = has_scan = False
    for number in itertools.count():
        if number > _MAX_JPEG_SEGMENTS:
            raise UnusablePhotoError(
                f"the JPEG has more than {_MAX_JPEG_SEGMENTS:,} segments; no camera or encoder writes so many",
                fault="limit",
            )
        following = _MARKER.search(content, position)
        if following is None:
            if has_scan:
                return  # zeros after the data of the last scan, in place of the end-of-image marker
            raise UnusablePhotoError("the JPEG is cut short inside its header")
        position, marker = following.start(), content[following.start() + 1]
        if marker == 0xD9:  # end of image; a second frame, a video or a zip may follow
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a segment
            position += 2
            continue
        segment = _segment(content, position)
        position += len(segment)
        has_frame = has_frame or _is_frame(marker)
        data = None
        if marker == 0xDA:
            if not has_frame:
                raise UnusablePhotoError("the JPEG is damaged: its picture data have no header")
            data, position = _scan_data(content, position)
            has_scan = True
        yield marker, segment, data


def _is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _segment(content: bytes, position: int) -> bytes:
    end = position + 2 + struct.unpack_from(">H", content, position + 2)[0]
    if end > len(content) or end < position + 4:
        raise UnusablePhotoError("the JPEG is cut short inside its header")
    return content[position:end]


def _scan_data(content: bytes, position: int) -> tuple[bytes, int]:
    """Return the entropy-coded data that start at `position`, and the position after them."""
    following = _MARKER_AFTER_SCAN.search(content, position)
    if following is not None:
        return content[position : following.start()].rstrip(b"\xff"), following.start()  # without fill bytes
    data = content[position:].rstrip(b"\0")
    if len(data) == len(content) - position:
        raise UnusablePhotoError("the JPEG is cut short: its end-of-image marker is missing")
    return (data + b"\0" if data.endswith(b"\xff") else data), len(content)


def _affects_pixels(marker: int) -> bool:
    # JFIF (E0) and Adobe (EE) segments define the colour space; other application segments and comments (FE) are metadata.
    return marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE)


def _frame(marker: int, segment: bytes) -> _Frame:
    if marker not in (0xC0, 0xC1, 0xC2):
        kind = _UNSUPPORTED_FRAMES.get(marker, "arithmetic-coded")
        raise UnusablePhotoError(
            f"{kind} JPEG is not supported", advice="Save it as baseline or progressive JPEG", fault="format"
        )
    precision, height, width, num_components = struct.unpack_from(">BHHB", segment, 4)
    if precision != 8:
        raise UnusablePhotoError(f"{precision}-bit JPEG is not supported", advice="Save it with 8 bits", fault="format")
    components = [struct.unpack_from("BB", segment, 10 + 3 * index) for index in range(num_components)]
    sampling = {name: (factors >> 4, factors & 15) for name, factors in components}
    if not sampling or any(0 in factors for factors in sampling.values()):
        raise UnusablePhotoError("the JPEG is damaged: its sampling factors are zero")
    if not width or not height:  # a height of zero is legal, and follows in the data: no camera writes that
        raise UnusablePhotoError(f"the JPEG states no size ({width} x {height} pixels)", fault="format")
    check_size((width, height))
    return _Frame((width, height), sampling, marker == 0xC2)
