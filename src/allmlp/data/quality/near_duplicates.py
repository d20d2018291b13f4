"""Near duplicates: photos that show the same picture after re-encoding, resizing or slight cropping.

Candidates share most bits of a perceptual hash, and are found by parts of it in nearly linear time. Their thumbnails then have
to agree, also in colour: photos of one class in front of one background have similar hashes.
"""

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from allmlp.data.quality.photo_facts import THUMBNAIL_SIDE, has_contrast, hashes_of

__all__ = ["near_groups"]

# Measured on the clothing photos: of different photos, the most similar pair of thumbnails differs by 0.21 of its contrast.
# Copies saved as JPEG of quality 30 differ by at most 0.16, copies cropped by 5 % on each side by 0.12 (median).
_MAX_DIFFERENCE = 0.18
_MAX_COARSE_DIFFERENCE = 0.4  # with the few windows of the hashes, which rules out most candidates
_MAX_BITS = 8  # of the hash; all pairs up to 7 are found, and most with 8
_BANDS = 4  # of 16 bits: two hashes that differ in at most 7 bits differ in at most one bit of some band
_MAX_BUCKET = 64  # hashes with the same band that are compared with one: otherwise, uniform photos take quadratic time
_PAIRS_AT_ONCE = 1 << 20
_CHUNK = 4096
_VERIFIED_AT_ONCE = 128

_CROPS = (0.0, 0.05)  # cut off each side for the hashes
_FINE_CROPS = (0.0, 0.025, 0.05, 0.075, 0.1)  # and for the comparison of thumbnails
_COMPARED_SIDE = 8


def near_groups(thumbnails: Sequence[NDArray[np.uint8]]) -> list[list[int]]:
    """Return groups of two or more photos that are nearly identical, as indices, in order of their first photo.

    `thumbnails` are (16, 16, 3) uint8. Groups are connected: if a and b are alike, and b and c, all three form one group.
    Almost uniform photos are left out.
    """
    if not thumbnails:
        return []
    images = np.stack(thumbnails)
    kept = np.flatnonzero(np.concatenate([has_contrast(part) for part in _in_chunks(images)]))
    if not len(kept):
        return []
    images = images[kept]
    groups = _Groups(len(kept))
    for candidates in _candidates(images):
        pairs = candidates[groups.are_apart(candidates)]
        for start in range(0, len(pairs), _VERIFIED_AT_ONCE):
            part = pairs[start : start + _VERIFIED_AT_ONCE]
            part = part[np.array([groups.find(a) != groups.find(b) for a, b in part.tolist()], np.bool_)]
            for a, b in part[_are_alike(images, part)].tolist():
                groups.join(a, b)
    return [kept[group].tolist() for group in groups.groups()]


class _Groups:
    """Disjoint sets of the numbers below n."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, member: int) -> int:
        while self._parents[member] != member:
            self._parents[member] = self._parents[self._parents[member]]
            member = self._parents[member]
        return member

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self.find(first), self.find(second)))
        self._parents[high] = low

    def are_apart(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which pairs, (n, 2), are in two groups."""
        roots = np.array([self.find(member) for member in range(len(self._parents))])[pairs]
        return np.asarray(roots[:, 0] != roots[:, 1])

    def groups(self) -> list[list[int]]:
        members: dict[int, list[int]] = defaultdict(list)
        for member in range(len(self._parents)):
            members[self.find(member)].append(member)
        return [group for group in members.values() if len(group) > 1]


def _in_chunks(images: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """Yield the images in float32, a few thousand at once, so that memory is bounded."""
    for start in range(0, len(images), _CHUNK):
        yield images[start : start + _CHUNK].astype(np.float32)


def _candidates(images: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs (a, b), int64 (n, 2), so that photo a may be photo b, whole or cropped."""
    whole = np.concatenate([hashes_of(part) for part in _in_chunks(images)])
    windows = _windows(_CROPS, THUMBNAIL_SIDE)
    for rows in windows:
        for columns in windows:
            cropped = [hashes_of(_cropped(part, rows, columns)) for part in _in_chunks(images)]
            yield from _pairs_within_bits(whole, np.concatenate(cropped))


def _cropped(
    images: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a window of each image, (n, 16, 16, 3), averaged to the same size."""
    channels = images.transpose(0, 3, 1, 2)
    return np.asarray((rows @ channels @ columns.T).transpose(0, 2, 3, 1))


def _pairs_within_bits(whole: NDArray[np.uint64], cropped: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    flips = np.array([0, *(1 << bit for bit in range(16))], np.int64)
    owners = np.repeat(np.arange(len(cropped)), len(flips))
    for band in range(_BANDS):
        shift = np.uint64(16 * band)
        keys = (whole >> shift).astype(np.int64) & 0xFFFF
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(0x10001))
        wanted = (cropped >> shift).astype(np.int64) & 0xFFFF
        probes = (wanted[:, None] ^ flips).ravel()
        counts = np.minimum(starts[probes + 1] - starts[probes], _MAX_BUCKET)
        for part in _parts(counts):
            b = np.repeat(owners[part], counts[part])
            within = np.arange(len(b)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
            a = order[np.repeat(starts[probes[part]], counts[part]) + within]
            is_near = (np.bitwise_count(whole[a] ^ cropped[b]) <= _MAX_BITS) & (a != b)
            yield np.stack(np.divmod(np.unique(a[is_near] * len(whole) + b[is_near]), len(whole)), axis=1)


def _parts(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Yield slices that divide `counts` so that the sum of each is bounded."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop


def _are_alike(images: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for which pairs (a, b) thumbnail a shows the same as a window of thumbnail b."""
    coarse = _differences(images, pairs, _CROPS)
    is_open = (coarse > _MAX_DIFFERENCE) & (coarse <= _MAX_COARSE_DIFFERENCE)
    are_alike = coarse <= _MAX_DIFFERENCE
    are_alike[is_open] = _differences(images, pairs[is_open], _FINE_CROPS) <= _MAX_DIFFERENCE
    return are_alike


def _differences(images: NDArray[np.uint8], pairs: NDArray[np.int64], crops: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the root mean square difference of thumbnail a and the most similar window of b, divided by the contrast."""
    windows = _windows(crops, _COMPARED_SIDE)  # (w, 8, 16); the first one is the whole photo
    channels, cut_channels = (images[side].astype(np.float32).transpose(0, 3, 1, 2) for side in pairs.T)
    whole = windows[0] @ (windows[0] @ channels).swapaxes(2, 3)  # (n, 3, 8, 8), rows and columns swapped
    rows = windows @ cut_channels[:, :, None]  # (n, 3, w, 8, 16)
    contrast = _contrast(whole)[:, None]
    lowest = np.full(len(pairs), np.inf, np.float32)
    for columns in windows:
        cropped = columns @ rows.swapaxes(3, 4)  # (n, 3, w, 8, 8)
        differences = np.sqrt(((cropped - whole[:, :, None]) ** 2).mean(axis=(1, 3, 4)))  # (n, w)
        ratios = differences / np.maximum(np.minimum(contrast, _contrast(cropped)), 1e-6)
        lowest = np.minimum(lowest, ratios.min(axis=1))
    return lowest


def _contrast(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation over the pixels of images, (n, 3, ..., 8, 8), about the mean of each channel."""
    return np.asarray(np.sqrt(images.var(axis=(-2, -1)).mean(axis=1)))


@functools.cache
def _windows(crops: tuple[float, ...], side: int) -> NDArray[np.float32]:
    """Return matrices (w, side, 16) that average a row of 16 pixels, cut at both ends, to `side` pixels."""
    edges = np.arange(THUMBNAIL_SIDE, dtype=np.float64)
    matrices = []
    for low in crops:
        for high in crops:
            bounds = THUMBNAIL_SIDE * np.linspace(low, 1.0 - high, side + 1)[:, None]
            overlap = np.minimum(bounds[1:], edges + 1) - np.maximum(bounds[:-1], edges)
            matrices.append(np.maximum(overlap, 0.0) / (bounds[1] - bounds[0]))
    return np.array(matrices, dtype=np.float32)
