"""Copies of a photo: the same bytes, which must not be on both sides of a split."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from allmlp.data.dataset import Split
from allmlp.data.digests import photo_digest
from allmlp.errors import DataError

__all__ = ["Copies"]


class Copies:
    """The copies of each photo of a split, found by reading only photos of the same size."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._digests: dict[int, str] = {}
        self._of_size: dict[int, list[int]] = defaultdict(list)
        self._groups: dict[str, list[int]] = defaultdict(list)
        sizes = split.reader.sizes()
        if sizes is None:
            sizes = np.zeros(len(split), np.int64)
        self._sizes: Sequence[int] = sizes.tolist()
        for index in split.storage_order().tolist():
            self._of_size[self._sizes[index]].append(index)

    def of(self, index: int) -> list[int]:
        """Return the photos with the bytes of photo `index`, itself included; only itself if it cannot be read."""
        alike = self._of_size[self._sizes[index]]
        if len(alike) == 1:
            return alike
        for other in alike:
            if other not in self._digests:
                self._digests[other] = self._digest(other)
                self._groups[self._digests[other]].append(other)
        return self._groups[self._digests[index]] if self._digests[index] else [index]

    def _digest(self, index: int) -> str:
        try:
            content = self._split.read(index)
        except DataError:  # reported when the photos are checked
            return ""
        return photo_digest(content) if content else ""
