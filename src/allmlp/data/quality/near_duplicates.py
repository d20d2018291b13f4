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
_MAX_BUCKET = (
    64  # hashes that share a band are compared with at most so many, so that uniform photos take no quadratic time
)
_PAIRS_AT_ONCE = 1 << 21
_VERIFIED_AT_ONCE = 256

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
    images = np.stack(thumbnails).astype(np.float32)
    kept = np.flatnonzero(has_contrast(images))
    if not len(kept):
        return []
    images = images[kept]
    groups = _Groups(len(kept))
    for candidates in _candidates(images):
        pairs = candidates[[groups.find(a) != groups.find(b) for a, b in candidates.tolist()]]
        for start in range(0, len(pairs), _VERIFIED_AT_ONCE):
            part = pairs[start : start + _VERIFIED_AT_ONCE]
            for crops, limit in ((_CROPS, _MAX_COARSE_DIFFERENCE), (_FINE_CROPS, _MAX_DIFFERENCE)):
                part = part[_are_alike(images[part[:, 0]], images[part[:, 1]], crops=crops, limit=limit)]
            for a, b in part.tolist():
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

    def groups(self) -> list[list[int]]:
        members: dict[int, list[int]] = defaultdict(list)
        for member in range(len(self._parents)):
            members[self.find(member)].append(member)
        return [group for group in members.values() if len(group) > 1]


def _candidates(images: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs (a, b), int64 (n, 2), so that photo a may be photo b, whole or cropped."""
    whole = hashes_of(images)
    windows = _windows(_CROPS, THUMBNAIL_SIDE)
    for rows in windows:
        cropped = rows @ images.reshape(len(images), THUMBNAIL_SIDE, -1)  # (n, 16, 16 x 3)
        columns = cropped.reshape(images.shape).swapaxes(1, 2).reshape(len(images), THUMBNAIL_SIDE, -1)
        for other in windows:
            found = (other @ columns).reshape(images.shape).swapaxes(1, 2)
            yield from _pairs_within_bits(whole, hashes_of(found))


def _pairs_within_bits(whole: NDArray[np.uint64], cropped: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    flips = np.array([0, *(1 << bit for bit in range(16))], np.int64)
    seen: set[int] = set()
    for band in range(_BANDS):
        shift = np.uint64(16 * band)
        keys = (whole >> shift).astype(np.int64) & 0xFFFF
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(0x10001))
        wanted = (cropped >> shift).astype(np.int64) & 0xFFFF
        for flip in flips:
            probes = wanted ^ flip
            counts = np.minimum(starts[probes + 1] - starts[probes], _MAX_BUCKET)
            for part in _parts(counts):
                b = np.repeat(np.arange(part.start, part.stop), counts[part])
                ends = np.cumsum(counts[part])
                within = np.arange(len(b)) - np.repeat(ends - counts[part], counts[part])
                a = order[starts[probes[b]] + within]
                is_near = (np.bitwise_count(whole[a] ^ cropped[b]) <= _MAX_BITS) & (a != b)
                pairs = np.stack([a[is_near], b[is_near]], axis=1)
                fresh = [key not in seen for key in (pairs @ [len(whole), 1]).tolist()]
                seen.update((pairs @ [len(whole), 1]).tolist())
                yield pairs[fresh]


def _parts(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Yield slices that divide `counts` so that the sum of each is bounded."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop


def _are_alike(
    first: NDArray[np.float32], second: NDArray[np.float32], *, crops: tuple[float, ...], limit: float
) -> NDArray[np.bool_]:
    """Return which thumbnails, (n, 16, 16, 3), of `first` show the same as a window of those of `second`.

    The root mean square difference of the two may be `limit` times the lower contrast.
    """
    if not len(first):
        return np.zeros(0, np.bool_)
    windows = _windows(crops, _COMPARED_SIDE)  # (w, 8, 16); the first one is the whole photo
    whole = windows[0] @ (windows[0] @ first.transpose(0, 3, 1, 2)).swapaxes(
        2, 3
    )  # (n, 3, 8, 8), rows and columns swapped
    rows = windows @ second.transpose(0, 3, 1, 2)[:, :, None]  # (n, 3, w, 8, 16)
    contrast = _contrast(whole)[:, None]
    are_alike = np.zeros(len(first), np.bool_)
    for columns in windows:
        cropped = columns @ rows.swapaxes(3, 4)  # (n, 3, w, 8, 8)
        differences = np.sqrt(((cropped - whole[:, :, None]) ** 2).mean(axis=(1, 3, 4)))  # (n, w)
        contrasts = np.minimum(contrast, _contrast(cropped))
        are_alike |= (differences <= limit * contrasts).any(axis=1)
    return are_alike


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
