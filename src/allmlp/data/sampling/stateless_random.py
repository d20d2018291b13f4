"""Stateless randomness: random choices as pure functions of (seed, epoch, sample), without a generator's state.

A batch therefore does not depend on the listing of files, on the number of workers, or on where a run was resumed.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["epoch_order", "occurrence_keys", "sample_keys", "split_draw", "uniform"]

# SplitMix64 (Steele, Lea, Flood 2014): a counter times the golden gamma, then a bijective mix.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def sample_keys(sample_ids: Sequence[str]) -> NDArray[np.uint64]:
    """Return one 64-bit key per sample ID, from which all random choices of the sample are derived."""
    digests = (
        hashlib.blake2b(sample_id.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        for sample_id in sample_ids
    )
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def epoch_order(seed: int, epoch: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the order of the samples in this epoch, a permutation of range(len(keys))."""
    ranks = _mix(_states(seed, epoch, keys, stream=0))
    return np.lexsort((keys, ranks)).astype(np.int64)


def occurrence_keys(keys: NDArray[np.uint64], passes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return one key per (sample, pass), for random choices that differ between the occurrences of a sample."""
    with np.errstate(over="ignore"):
        return _mix(keys + _GAMMA * (passes.astype(np.uint64) + np.uint64(1)))


def uniform(seed: int, epoch: int, keys: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
    """Return (len(keys), count) numbers, uniform in [0, 1); each row is a function of (seed, epoch, key)."""
    with np.errstate(over="ignore"):
        counters = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA
        bits = _mix(_states(seed, epoch, keys, stream=1)[:, None] + counters[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def split_draw(seed: int, sample_id: str) -> bytes:
    """Return a draw by which the samples of a class are ranked when they are divided into splits."""
    return hashlib.sha256(f"{seed}\0{sample_id}".encode()).digest()


def _states(seed: int, epoch: int, keys: NDArray[np.uint64], *, stream: int) -> NDArray[np.uint64]:
    word = hashlib.blake2b(f"{seed}/{epoch}/{stream}".encode(), digest_size=8).digest()
    salt = np.frombuffer(word, dtype="<u8").astype(np.uint64)
    with np.errstate(over="ignore"):
        return _mix(keys ^ salt)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * _MIX1
        values = (values ^ (values >> np.uint64(27))) * _MIX2
        return values ^ (values >> np.uint64(31))
