"""Contexts of one arm of a study: few small photos, and a folder of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from allmlp.data import ImageDataset
from allmlp.studies.learning.photos import LabelledPhotos, StudyPhotos

__all__ = ["BrightAndDark", "SmallContext"]


@dataclass
class SmallContext:
    """Implements `ArmContext` with 24 photos of three classes, or with a data set."""

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


@dataclass
class BrightAndDark:
    """Photos of two classes, in turns: bright ones and dark ones. The first 40 are scored, too."""

    folder: Path
    num_photos: int = 120
    device: str = "cpu"
    reports: list[str] = field(default_factory=list)

    def report(self, line: str) -> None:
        self.reports.append(line)

    def photos(self, image_size: tuple[int, int]) -> StudyPhotos:
        labels = np.arange(self.num_photos) % 2
        noise = np.random.default_rng(0).integers(0, 100, (self.num_photos, *image_size, 3))
        images = noise + np.where(labels == 0, 150, 0)[:, None, None, None]
        photos = LabelledPhotos(images.astype(np.uint8), labels)
        return StudyPhotos(photos, photos.subset(np.arange(40)), ["bright", "dark"])
