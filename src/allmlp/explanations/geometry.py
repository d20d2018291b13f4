"""`PatchGeometry`: which part of a photo each patch shows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Preprocessing

__all__ = ["PatchGeometry", "patch_geometry"]


@dataclass(frozen=True, kw_only=True)
class PatchGeometry:
    """Where the patches of a model's input are in a photo.

    Attributes:
        photo_size: (height, width) of the photo in pixels, turned as its EXIF orientation says.
        grid: the number of (rows, columns) of patches.
        shown: (top, left, bottom, right) of the model's input, in the photo's pixels. It is smaller than the photo if
            pre-processing crops, and larger if it pads.
    """

    photo_size: tuple[int, int]
    grid: tuple[int, int]
    shown: tuple[float, float, float, float]

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return (top, left, bottom, right) of a patch, in the pixels of the photo; with `fit` "pad", it may be outside."""
        y, x = self.edges(0), self.edges(1)
        return float(y[row]), float(x[column]), float(y[row + 1]), float(x[column + 1])

    def edges(self, axis: int) -> NDArray[np.float64]:
        """Return the n + 1 borders of the n rows (axis 0) or columns (axis 1) of patches, in the photo's pixels."""
        return np.linspace(self.shown[axis], self.shown[axis + 2], self.grid[axis] + 1)

    def to_json_object(self) -> dict[str, Any]:
        """Return the photo's size, and the shown part as {"top", "left", "bottom", "right"} in the photo's pixels."""
        sides = zip(("top", "left", "bottom", "right"), self.shown, strict=True)
        return {
            "photo_size": {"height": self.photo_size[0], "width": self.photo_size[1]},
            "shown": {name: round(side, 3) for name, side in sides},
            "grid": {"rows": self.grid[0], "columns": self.grid[1]},
        }


def patch_geometry(preprocessing: Preprocessing, grid: tuple[int, int], photo_size: tuple[int, int]) -> PatchGeometry:
    """Return where the patches are in a photo of `photo_size` (height, width) that was prepared by `preprocessing`."""
    return PatchGeometry(photo_size=photo_size, grid=grid, shown=preprocessing.shown_box(photo_size))
