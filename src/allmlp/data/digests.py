"""Digests of photos: the identity of a photo is its bytes, whatever its name and wherever it is stored."""

import dataclasses
import hashlib
from collections.abc import Iterable, MutableSequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import Reader, Split
from allmlp.errors import DataError

__all__ = ["CHANGED", "VerifiedReader", "photo_digest", "with_digests"]

CHANGED = "this photo has changed since the run started"
"""The beginning of the reason why `VerifiedReader` refuses a photo."""


def photo_digest(content: bytes) -> str:
    """Return the SHA-256 of an encoded photo, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class VerifiedReader:
    """Reads what `reader` reads, and refuses a photo whose SHA-256 is not `digests[index]`; "" takes that of the photo."""

    reader: Reader
    digests: MutableSequence[str]

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of photo `index`. Raises DataError, naming it, if they have changed or cannot be read."""
        content = self.reader.read(index)
        digest = photo_digest(content)
        if not self.digests[index]:
            self.digests[index] = digest
        elif self.digests[index] != digest:
            raise DataError(
                f"{self.where(index)}: {CHANGED}: its name is the same, its bytes are not. "
                "Restore it, or start a new run."
            )
        return content

    def where(self, index: int) -> str:
        """Return the location of photo `index` for messages."""
        return self.reader.where(index)

    def subset(self, indices: NDArray[np.int64]) -> "VerifiedReader":
        """Return a reader of the photos at `indices`, in that order, with the digests known now."""
        return VerifiedReader(self.reader.subset(indices), [self.digests[index] for index in indices])

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices in the order in which the photos are stored on disk."""
        return self.reader.storage_order()

    def sizes(self) -> NDArray[np.int64] | None:
        """Return the number of bytes of each photo; None if they are known only after reading."""
        return self.reader.sizes()

    def photo_files(self) -> Iterable[Path]:
        """Return the files that hold the photos."""
        return self.reader.photo_files()


def with_digests(split: Split, digests: MutableSequence[str]) -> Split:
    """Return a split whose photos are compared with `digests`, in the order of the photos, whenever they are read.

    Where a digest is "", that of the first photo read takes its place, so that afterwards `digests` has those of all photos
    that were read.
    """
    return dataclasses.replace(split, reader=VerifiedReader(split.reader, digests))
