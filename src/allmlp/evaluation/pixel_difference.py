"""Differences between the pixels of an export's graph and those of `Preprocessing`, counted while photos are prepared."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Preparation, Preprocessing

__all__ = ["ALLOWED", "ComparedPreparation", "PixelDifference"]

ALLOWED = {"bicubic": (2, 0.002), "bilinear": (2, 0.1)}
"""By filter, for `pixels="in"`: the largest difference in grey levels, and the largest share of values that differ.

Most photos stay far below (benchmarks/graph_pixels.py). These are for photos that all have one size: at some simple ratios of
the sides, many values are exactly between two levels, which engines round differently.
"""


@dataclass(frozen=True, kw_only=True)
class PixelDifference:
    """How the images of a graph differ from those of `Preprocessing`.

    Attributes:
        num_values: of all images: R, G or B of a pixel.
        num_different: values that are not equal.
        largest: the largest absolute difference, in grey levels of 0 to 255.
    """

    num_values: int
    num_different: int
    largest: int

    @property
    def share(self) -> float:
        """The share of values that differ."""
        return self.num_different / max(1, self.num_values)

    def problem(self, preprocessing: Preprocessing, *, is_exact: bool) -> str:
        """Return in words what is more than allowed; "" if nothing is."""
        level, share = (0, 0.0) if is_exact else ALLOWED[preprocessing.interpolation]
        if self.largest <= level and self.share <= share:
            return ""
        allowed = "none" if is_exact else f"{share:.1%}, by {level} levels"
        return (
            f"{self.num_different:,} of {self.num_values:,} values of the graph's pixels ({self.share:.3%}) differ, by up to "
            f"{self.largest} grey levels; allowed: {allowed}."
        )


class ComparedPreparation:
    """A `Preparation` that compares every image with that of `Preprocessing`. Threads may share it."""

    def __init__(self, preparation: Preparation, preprocessing: Preprocessing) -> None:
        self._preparation = preparation
        self._preprocessing = preprocessing
        self._lock = threading.Lock()
        self._num_values = self._num_different = self._largest = 0

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self._preparation.image_size

    def resize(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """Return what the preparation keeps of a photo (h, w, 3)."""
        kept = self._preparation.resize(image)
        found = self._preparation.normalise(kept[None])[0]
        expected = self._preprocessing(image)
        step = np.float32(255) * np.array(self._preprocessing.std, np.float32).reshape(3, 1, 1)
        largest = int(np.rint(np.abs(found - expected) * step).max())
        with self._lock:
            self._num_values += expected.size
            self._num_different += int((found != expected).sum())
            self._largest = max(self._largest, largest)
        return kept

    def normalise(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return the images (B, 3, H, W) of the preparation."""
        return self._preparation.normalise(images)

    def difference(self) -> PixelDifference:
        """Return the difference so far."""
        return PixelDifference(num_values=self._num_values, num_different=self._num_different, largest=self._largest)
