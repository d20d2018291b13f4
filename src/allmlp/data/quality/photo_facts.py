"""Facts about one photo: digest, format, properties, and a thumbnail with its perceptual hash, from its bytes alone."""

import contextlib
import dataclasses
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from allmlp.data.decoding.decode import decode_small
from allmlp.data.decoding.reasons import ShortageError, problem_of
from allmlp.data.digests import photo_digest
from allmlp.errors import DataError
from allmlp.io.file_kinds import PHOTO_KINDS, START_BYTES, FileKind, kind_of_file

__all__ = [
    "THUMBNAIL_SIDE",
    "PhotoFacts",
    "has_contrast",
    "hashes_of",
    "perceptual_hash",
    "photo_facts",
    "unreadable_facts",
]

THUMBNAIL_SIDE = 16
"""Side of the thumbnails by which photos are compared, in pixels."""

_MIN_CONTRAST = 2.0  # of a thumbnail, in grey levels: below this, its hash would consist of noise
_BITS_TAG = 258


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PhotoFacts:
    """Facts about one photo. All but the first three are those of an unreadable photo unless it decodes.

    Attributes:
        digest: SHA-256 of its bytes, hexadecimal; "" if they could not be read.
        num_bytes: its encoded size.
        kind: the kind of file by its first bytes; None if unknown.
        error: why it cannot be used, without its name; None if it decodes.
        size: (width, height), upright.
        mode: Pillow's mode of the stored pixels, such as "RGB", "L" or "CMYK"; "" if unknown.
        bits: per stored sample: 16, else 8.
        orientation: as in EXIF, 1 to 8; 1 is upright.
        is_animated: whether further frames or pages follow the first, which is the only one used.
        has_transparency: whether the stored pixels have transparency.
        is_grey: whether all pixels are grey.
        thumbnail: the whole photo, uint8 (16, 16, 3); None if unreadable.
    """

    digest: str
    num_bytes: int
    kind: FileKind | None
    error: str | None = None
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    bits: int = 8
    orientation: int = 1
    is_animated: bool = False
    has_transparency: bool = False
    is_grey: bool = False
    thumbnail: NDArray[np.uint8] | None = None

    @property
    def hash(self) -> int | None:
        """Return the perceptual hash of the photo; None if it is unreadable or too uniform for one."""
        return None if self.thumbnail is None else perceptual_hash(self.thumbnail)


def photo_facts(content: bytes, *, name: str = "photo") -> PhotoFacts:
    """Return the facts about an encoded photo, which is decoded once. `name` is its name in the error."""
    kind = kind_of_file(content[:START_BYTES])
    digest = photo_digest(content)
    try:
        small, size, mode, orientation = decode_small(content, name=name, side=THUMBNAIL_SIDE)
    except ShortageError:
        raise
    except DataError as error:
        return PhotoFacts(digest=digest, num_bytes=len(content), kind=kind, error=problem_of(error, name))
    facts = PhotoFacts(
        digest=digest,
        num_bytes=len(content),
        kind=kind,
        size=size,
        mode=mode,
        orientation=orientation if orientation in range(1, 9) else 1,
        is_grey=bool((small == small[..., :1]).all()),
        thumbnail=small,
    )
    with contextlib.suppress(Exception):  # damaged metadata of a photo that decodes: its properties stay unknown
        return _with_properties(facts, content)
    return facts


def unreadable_facts(error: DataError, *, name: str) -> PhotoFacts:
    """Return the facts about a photo whose bytes cannot be read."""
    return PhotoFacts(digest="", num_bytes=0, kind=None, error=problem_of(error, name))


def _with_properties(facts: PhotoFacts, content: bytes) -> PhotoFacts:
    """Return the facts with those that only Pillow's reader knows of the whole file: 16 bits, frames and transparency."""
    if facts.kind is None or facts.kind not in PHOTO_KINDS or _is_plain(facts.kind, content):
        return facts
    # Each reader of Pillow for its kind of file only, and only after the photo has been decoded within limits.
    with Image.open(BytesIO(content), formats=[facts.kind.name]) as image:
        tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
        bits = (content[24],) if facts.kind is FileKind.PNG else tags.get(_BITS_TAG, (8,))  # byte 24: IHDR's bit depth
        return dataclasses.replace(
            facts,
            bits=16 if max(bits) > 8 else 8,
            is_animated=bool(getattr(image, "is_animated", False)),
            has_transparency=image.has_transparency_data,
        )


def _is_plain(kind: FileKind, content: bytes) -> bool:
    """Return whether a file can only have 8 bits, one picture and no transparency, so that no header has to be read again."""
    if kind is FileKind.JPEG:
        return b"MPF\0" not in content  # the segment that lists further pictures
    return kind is FileKind.WEBP and content[12:16] == b"VP8 "  # lossy, and not extended


def _cosines(num_frequencies: int) -> NDArray[np.float32]:
    positions = 2 * np.arange(THUMBNAIL_SIDE) + 1
    frequencies = np.arange(num_frequencies)[:, None]
    return np.cos(np.pi * frequencies * positions / (2 * THUMBNAIL_SIDE)).astype(np.float32)


_COSINES = _cosines(8)  # (8, 16)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_AVERAGE = np.full(THUMBNAIL_SIDE**2, 1 / THUMBNAIL_SIDE**2, np.float32)
_WHOLE = np.eye(THUMBNAIL_SIDE, dtype=np.float32)[None]


def perceptual_hash(small: NDArray[np.uint8]) -> int | None:
    """Return the perceptual hash of a thumbnail; None if it is almost uniform."""
    pixels = small[None].astype(np.float32)
    return int(hashes_of(pixels, _WHOLE)[0, 0]) if has_contrast(pixels)[0] else None


def has_contrast(thumbnails: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which thumbnails, (n, 16, 16, 3), vary enough over the photo for their hash to mean something."""
    pixels = thumbnails.reshape(-1, THUMBNAIL_SIDE**2, 3)
    mean_squares = np.einsum("npc,npc->nc", pixels, pixels) / THUMBNAIL_SIDE**2  # up to 2^16: exact enough in float32
    variances = mean_squares - (_AVERAGE @ pixels) ** 2
    return np.asarray(variances.max(axis=1) >= _MIN_CONTRAST**2)


def hashes_of(thumbnails: NDArray[np.float32], windows: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return the hashes, (w², n), of thumbnails (n, 16, 16, 3), of which each window of rows and of columns is taken.

    `windows` are matrices (w, 16, 16) from a row or column of 16 pixels to one of the cropped photo. A hash consists of the
    signs of the 8 × 8 lowest cosine frequencies of the luma about their median. This is pHash: Zauner, "Implementation and
    Benchmarking of Perceptual Image Hash Functions", 2010. The mean brightness, the first frequency, does not count.
    """
    cosines = (_COSINES @ windows).reshape(-1, THUMBNAIL_SIDE)  # (8w, 16)
    luma = (thumbnails.reshape(-1, 3) @ _LUMA).reshape(thumbnails.shape[:-1])  # as one product, three times as fast
    spectra = cosines @ luma @ cosines.T  # (n, 8w, 8w)
    by_window = spectra.reshape(len(thumbnails), len(windows), 8, len(windows), 8).transpose(1, 3, 0, 2, 4)
    flat = by_window.reshape(len(windows) ** 2, len(thumbnails), 64)
    bits = flat > np.partition(flat[..., 1:], 31, axis=-1)[..., 31:32]  # the median of 63 values
    bits[..., 0] = False
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0].astype(np.uint64)
