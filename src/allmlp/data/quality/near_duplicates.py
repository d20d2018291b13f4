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
from allmlp.io.ordered_map import ordered_map

__all__ = ["near_groups"]

# Recall by kind of change, and false positives, with these limits: benchmarks/results/near_duplicates.json, which
# benchmarks/near_duplicates.py writes.
_MAX_DIFFERENCE = 0.18
_MAX_COARSE_DIFFERENCE = 0.4  # with the few windows of the hashes, which rules out most candidates
_MAX_BITS = 8  # of the hash; all pairs up to 7 are found, and most with 8
_BANDS, _BAND_BITS = 4, 16  # two hashes that differ in at most 7 bits differ in at most one bit of some band
_MAX_BUCKET = 64  # hashes with the same band that are compared with one: otherwise, uniform photos take quadratic time
_PAIRS_AT_ONCE = 1 << 20
_CHUNK = 512  # photos hashed at a time
_VERIFIED_AT_ONCE = 128

_CROPS = (0.0, 0.05)  # cut off each side for the hashes
_FINE_CROPS = (0.0, 0.025, 0.05, 0.075, 0.1)  # and for the comparison of thumbnails
_COMPARED_SIDE = 8
_BAND_MASK = np.uint64((1 << _BAND_BITS) - 1)
_FLIPS = np.array([0, *(1 << bit for bit in range(_BAND_BITS))])


def near_groups(thumbnails: Sequence[NDArray[np.uint8]], *, num_workers: int = 0) -> list[list[int]]:
    """Return groups of two or more photos that are nearly identical, as indices, in order of their first photo.

    `thumbnails` are (16, 16, 3) uint8. Groups are connected: if a and b are alike, and b and c, all three form one group.
    Almost uniform photos are left out. Hashes are computed in `num_workers` threads (0: in the caller's).
    """
    if not thumbnails:
        return []
    images = np.stack(thumbnails)
    contrasts, hashes = zip(*ordered_map(_hashed, _chunks(images), num_workers), strict=True)
    kept = np.flatnonzero(np.concatenate(contrasts))
    if not len(kept):
        return []
    images = images[kept]
    groups = _Groups(len(kept))
    for candidates in _candidates(np.concatenate(hashes, axis=1)[:, kept]):
        pairs = candidates[groups.are_apart(candidates)]
        for start in range(0, len(pairs), _VERIFIED_AT_ONCE):
            part = pairs[start : start + _VERIFIED_AT_ONCE]
            part = part[groups.are_apart(part)]
            for pair in part[_are_alike(images, part)]:
                groups.join(pair)
    return [kept[group].tolist() for group in groups.groups()]


class _Groups:
    """Disjoint sets of the numbers below n: each member leads to a smaller one, up to the smallest of its group."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def _find(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        roots = self._parents[members]
        while not np.array_equal(parents := self._parents[roots], roots):
            roots = self._parents[parents]
        self._parents[members] = roots  # later searches are shorter
        return np.asarray(roots)

    def join(self, pair: NDArray[np.int64]) -> None:
        low, high = sorted(self._find(pair).tolist())
        self._parents[high] = low

    def are_apart(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which pairs, (n, 2), are in two groups."""
        found = self._find(pairs)
        return np.asarray(found[:, 0] != found[:, 1])

    def groups(self) -> list[list[int]]:
        members: dict[int, list[int]] = defaultdict(list)
        for member, group in enumerate(self._find(np.arange(len(self._parents))).tolist()):
            members[group].append(member)
        return [group for group in members.values() if len(group) > 1]


def _chunks(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return the images in parts, so that memory for them in float32 is bounded."""
    return [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]


def _hashed(images: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.uint64]]:
    """Return which images (n, 16, 16, 3) have enough contrast, (n,), and the hashes of their windows, (w², n)."""
    pixels = images.astype(np.float32)
    return has_contrast(pixels), hashes_of(pixels, _windows(_CROPS, THUMBNAIL_SIDE))


def _candidates(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs (a, b), int64 (n, 2), where photo a may be photo b, whole or cropped, from the hashes of windows, (w², n)."""
    count = hashes.shape[1]
    bands = [_Band(hashes[0], number) for number in range(_BANDS)]  # the first window is the whole photo
    found: list[NDArray[np.int64]] = []
    for cropped in hashes:
        for band in bands:
            found += band.pairs_within_bits(cropped)
            if sum(map(len, found)) > _PAIRS_AT_ONCE:
                yield _distinct(found, count)
                found = []
    yield _distinct(found, count)


def _distinct(found: Sequence[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """Return pairs (a, b) from a * count + b, each once: many have similar hashes in several bands and windows."""
    return np.stack(np.divmod(np.unique(np.concatenate(found)), count), axis=1)


class _Band:
    """A part of the hashes of all photos, in a table by which photos with almost the same part are found."""

    def __init__(self, whole: NDArray[np.uint64], number: int) -> None:
        self._whole = whole
        self._number = number
        keys = self._keys(whole)
        counts = np.bincount(keys, minlength=1 << _BAND_BITS)
        self._order = np.argsort(keys, kind="stable")
        self._starts = np.cumsum(counts) - counts
        self._counts = np.minimum(counts, _MAX_BUCKET)
        self._is_taken = counts > 0

    def _keys(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return ((hashes >> np.uint64(_BAND_BITS * self._number)) & _BAND_MASK).astype(np.int64)

    def pairs_within_bits(self, cropped: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
        """Yield a * n + b for photos a and b with similar hashes whose parts differ in at most one bit, in bounded arrays."""
        probes = (self._keys(cropped) ^ _FLIPS[:, None]).ravel()  # of 17 rows
        taken = np.flatnonzero(self._is_taken.take(probes))
        probes, owners = probes[taken], taken % len(cropped)
        counts = self._counts[probes]
        for part in _parts(counts):
            within = np.arange(counts[part].sum()) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
            a = self._order[np.repeat(self._starts[probes[part]], counts[part]) + within]
            b = np.repeat(owners[part], counts[part])
            is_near = (np.bitwise_count(self._whole[a] ^ cropped[b]) <= _MAX_BITS) & (a != b)
            yield a[is_near] * len(self._whole) + b[is_near]


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
