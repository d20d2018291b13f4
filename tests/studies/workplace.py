"""A workplace for arms in tests: photos whose class can be seen at a glance."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from allmlp.studies.learning.photos import LabelledPhotos, StudyPhotos


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
