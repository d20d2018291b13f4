"""Photos that a data set keeps as one array, given out as the bytes of a file like all others."""

import dataclasses
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.io.display import escape

__all__ = ["ArrayReader"]


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayReader:
    """Reads photo `rows[index]` of `photos`, uint8 (n, height, width, 3), as an uncompressed PNG: no pixel changes."""

    photos: NDArray[np.uint8]
    place: str
    rows: NDArray[np.int64]

    def read(self, index: int) -> bytes:
        """Return the bytes of a PNG."""
        content = io.BytesIO()
        Image.fromarray(self.photos[self.rows[index]]).save(content, "PNG", compress_level=0)
        return content.getvalue()

    def where(self, index: int) -> str:
        """Return "cifar-10-batches-py: test photo 17"; photos count from 0."""
        return escape(f"{self.place} {self.rows[index]}")

    def subset(self, indices: NDArray[np.int64]) -> "ArrayReader":
        """Return a reader of these photos in this order."""
        return dataclasses.replace(self, rows=self.rows[indices])

    def photo_files(self) -> tuple[Path, ...]:
        """Return none: every array decodes."""
        return ()

    def storage_order(self) -> NDArray[np.int64]:
        """Return the photos by their row."""
        return np.argsort(self.rows, kind="stable")
