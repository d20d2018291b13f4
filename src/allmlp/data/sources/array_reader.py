"""Reader of photos that a data set stores as one array, returned as encoded files like all others."""

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
    """Reads `images[rows[index]]` as an uncompressed PNG, which changes no pixel.

    `images` is uint8 (n, height, width, 3). `prefix` precedes the row number in messages.
    """

    images: NDArray[np.uint8]
    prefix: str
    rows: NDArray[np.int64]

    def read(self, index: int) -> bytes:
        """Return the bytes of a PNG."""
        content = io.BytesIO()
        Image.fromarray(self.images[self.rows[index]]).save(content, "PNG", compress_level=0)
        return content.getvalue()

    def where(self, index: int) -> str:
        """Return "cifar-10-batches-py: test photo 17", counted from 0."""
        return escape(f"{self.prefix} {self.rows[index]}")

    def subset(self, indices: NDArray[np.int64]) -> "ArrayReader":
        """Return a reader of the photos at `indices`, in that order."""
        return dataclasses.replace(self, rows=self.rows[indices])

    def sizes(self) -> None:
        """Return None: the rows have to be read."""

    def photo_files(self) -> tuple[Path, ...]:
        """Return no files: an array needs no check that it decodes."""
        return ()

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices, ordered by row."""
        return np.argsort(self.rows, kind="stable")
