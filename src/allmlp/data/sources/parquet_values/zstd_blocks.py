"""Blocks of a zstd frame (RFC 8878): encoded photos do not compress, so theirs are stored as they are and need no unpacking."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ZstdBlocks", "zstd_blocks"]

_MAGIC = b"\x28\xb5\x2f\xfd"
_RAW = 0  # a block that is stored as it is
_MIN_BLOCK_BYTES = 256  # on average; frames of smaller blocks are unpacked as a whole


@dataclass(frozen=True, eq=False)
class ZstdBlocks:
    """The stored blocks of a frame: `starts` int64 (n + 1,) in the unpacked data, `offsets` int64 (n,) in the frame."""

    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def ranges(self, start: int, num_bytes: int) -> list[tuple[int, int]]:
        """Return where in the frame a part of the unpacked data is, as offsets and lengths."""
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, start + num_bytes, side="left"))
        found = []
        for block in range(first, last):
            low, high = int(self.starts[block]), int(self.starts[block + 1])
            begin = max(start, low)
            found.append((int(self.offsets[block]) + begin - low, min(start + num_bytes, high) - begin))
        return found


def zstd_blocks(packed: bytes, num_bytes: int) -> ZstdBlocks | None:
    """Return the blocks of a page of `num_bytes`; None unless it is one frame of stored blocks only, without a dictionary."""
    if not packed.startswith(_MAGIC) or len(packed) < 6:
        return None
    descriptor = packed[4]
    is_single_segment, dictionary = descriptor >> 5 & 1, descriptor & 3
    size_bytes = (is_single_segment, 2, 4, 8)[descriptor >> 6]
    position = 5 + (1 - is_single_segment) + size_bytes
    starts, offsets = [0], list[int]()
    while not dictionary and len(offsets) <= len(packed) // _MIN_BLOCK_BYTES:
        header = int.from_bytes(packed[position : position + 3], "little")
        is_last, kind, size = header & 1, header >> 1 & 3, header >> 3
        if kind != _RAW or position + 3 + size > len(packed):
            return None
        offsets.append(position + 3)
        starts.append(starts[-1] + size)
        position += 3 + size
        if is_last:
            is_whole = starts[-1] == num_bytes and position + 4 * (descriptor >> 2 & 1) == len(packed)
            return ZstdBlocks(np.array(starts, np.int64), np.array(offsets, np.int64)) if is_whole else None
    return None
