"""Spatial frequencies of weight pictures, and pairs of opposing phase, in NumPy.

The paper sorts the hidden units of token mixing by frequency and pairs those of opposing phase (figures 5 and 7), but states no
rule and published no code for it. The rule here: units from the lowest frequency to the highest; each takes, of the units that
are still free, the one closest to its negative.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_PAIR_COSINE", "OpposingPairs", "pair_opposites", "picture_frequencies"]

MAX_PAIR_COSINE = -0.3
"""Units with a larger cosine are not partners."""

_CHUNK = 256  # pictures at once, which bounds the memory for spectra and products
# A picture that varies by less than this share of its norm is constant: float32 has no more digits.
_CONSTANT = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class OpposingPairs:
    """Pairs of opposing phase among n pictures.

    Attributes:
        frequencies: (n,) float64, of each picture without its mean, as of `picture_frequencies`.
        opposites: (n,) float64, each picture's most negative cosine with any other one, free or not; 0 for a constant one.
        pairs: (m, 2) int64, indices of pictures and their partners, by the frequency of the first, the lower of the two.
        cosines: (m,) float64, of the pairs; at most `MAX_PAIR_COSINE`.
        unpaired: (n - 2 m,) int64, indices of the pictures without a partner, by frequency.
    """

    frequencies: NDArray[np.float64]
    opposites: NDArray[np.float64]
    pairs: NDArray[np.int64]
    cosines: NDArray[np.float64]
    unpaired: NDArray[np.int64]


def picture_frequencies(pictures: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean spatial frequency (n,) of pictures (n, ..., height, width), in cycles per cell: 0 to 0.71.

    sum(|F|² r) / sum(|F|²) over the two-dimensional Fourier transform F, where r is the distance from frequency 0. Axes between
    the first one and height, such as colours, are summed. A picture of zeros has frequency 0.
    """
    height, width = pictures.shape[-2:]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))  # (height, width)
    axes = tuple(range(1, pictures.ndim))
    found = np.zeros(len(pictures))
    for start in range(0, len(pictures), _CHUNK):
        power = np.abs(np.fft.fft2(pictures[start : start + _CHUNK].astype(np.float64, order="C"))) ** 2
        total = power.sum(axis=axes)
        np.divide((power * radius).sum(axis=axes), total, out=found[start : start + _CHUNK], where=total > 0)
    return found


def pair_opposites(pictures: NDArray[np.floating]) -> OpposingPairs:
    """Pair pictures (n, height, width) of opposing phase.

    Each picture counts without its mean and at unit norm; the partner of u is then the free v of the smallest ||u + v||, so of
    the most negative cosine. The result does not depend on the order of the pictures, nor on the sign of all of them.
    """
    # Sorted by content first, so that neither ties nor the rounding of sums depend on the order in the file.
    by_content = sorted(range(len(pictures)), key=lambda number: pictures[number].tobytes())
    unit_norm = _normalised(pictures[by_content])
    frequencies = picture_frequencies(unit_norm)
    by_frequency = np.argsort(frequencies, kind="stable")
    vectors = unit_norm.reshape(len(pictures), -1)[by_frequency]
    index = np.array(by_content, dtype=np.int64)[by_frequency]  # of the sorted pictures among the given ones
    opposites = np.zeros(len(pictures))
    is_free = np.ones(len(pictures), dtype=bool)
    pairs: list[tuple[int, int]] = []
    cosines: list[float] = []
    unpaired: list[int] = []
    for unit, cosine in enumerate(_cosine_rows(vectors)):
        cosine[unit] = np.inf
        if len(cosine) > 1 and vectors[unit].any():
            opposites[unit] = cosine.min()
        if not is_free[unit]:
            continue
        is_free[unit] = False
        cosine[~is_free] = np.inf
        partner = int(cosine.argmin())
        if cosine[partner] > MAX_PAIR_COSINE:
            # No later unit takes it either: the cosine is symmetric, and the free units only become fewer.
            unpaired.append(unit)
            continue
        is_free[partner] = False
        pairs.append((unit, partner))
        cosines.append(float(cosine[partner]))
    return OpposingPairs(
        frequencies=_scattered(frequencies[by_frequency], index),
        opposites=_scattered(opposites, index),
        pairs=index[np.array(pairs, dtype=np.int64).reshape(-1, 2)],
        cosines=np.array(cosines, dtype=np.float64),
        unpaired=index[np.array(unpaired, dtype=np.int64)],
    )


def _cosine_rows(vectors: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield the products (n,) of each of n vectors of unit norm with all of them."""
    for start in range(0, len(vectors), _CHUNK):
        yield from vectors[start : start + _CHUNK] @ vectors.T


def _normalised(pictures: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return pictures without their mean and at unit norm; zeros for a constant one."""
    values = pictures.astype(np.float64)
    # First to a maximum of 1, so that no square overflows or vanishes.
    largest = np.abs(values).max(axis=(1, 2), keepdims=True)
    np.divide(values, largest, out=values, where=largest > 0)
    centred = values - values.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True))
    varies = norm > _CONSTANT * np.sqrt((values**2).sum(axis=(1, 2), keepdims=True))
    unit_norm = np.zeros_like(values)
    np.divide(centred, norm, out=unit_norm, where=varies)
    return unit_norm


def _scattered(values: NDArray[np.float64], index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return values of the sorted pictures in the order of the pictures that were given."""
    result = np.empty_like(values)
    result[index] = values
    return result
