"""A place for one arm of a study: few small photos of random colours, and a folder of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from allmlp.data import ImageDataset
from allmlp.studies.learning.photos import LabelledPhotos, StudyPhotos

__all__ = ["SmallWorkplace"]


@dataclass
class SmallWorkplace:
    """Implements `Workplace` with 24 photos of three classes, or with a data set."""

    folder: Path
    data: ImageDataset | None = None
    device: str = "cpu"
    lines: list[str] = field(default_factory=list)

    @property
    def report(self) -> Callable[[str], None]:
        return self.lines.append

    @property
    def dataset(self) -> ImageDataset:
        assert self.data is not None
        return self.data

    def photos(self, image_size: tuple[int, int]) -> StudyPhotos:
        draws = np.random.default_rng(0)
        images = draws.integers(0, 256, (24, *image_size, 3)).astype(np.uint8)
        photos = LabelledPhotos(images, np.arange(24) % 3)
        return StudyPhotos(photos, photos, ["a", "b", "c"])
