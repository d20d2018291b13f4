"""The context of an arm of a study of tasks, in a folder of a test, and the photos of a task."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from allmlp.data import ImageDataset, Split
from allmlp.data.sources.array_reader import ArrayReader
from allmlp.studies.learning.photos import StudyPhotos
from allmlp.studies.study import StudyOptions


@dataclass
class TaskContext:
    """An `ArmContext` that keeps what it is told; `stop_at` stops the arm at the first line with these words."""

    folder: Path
    options: StudyOptions
    stop_at: str | None = None
    device: str = "cpu"
    lines: list[str] = field(default_factory=list)

    def report(self, line: str) -> None:
        self.lines.append(line)
        if self.stop_at is not None and self.stop_at in line:
            raise KeyboardInterrupt

    @property
    def dataset(self) -> ImageDataset:
        raise AssertionError("tasks open their photos themselves")

    def photos(self, image_size: tuple[int, int]) -> StudyPhotos:
        raise AssertionError("tasks open their photos themselves")


def dataset_of(**sizes: int) -> ImageDataset:
    """Return photos of two classes in splits of these sizes, no two of them alike."""
    total, splits = 0, {}
    for name, size in sizes.items():
        numbers = np.arange(total, total + size)
        total += size
        images = np.zeros((size, 4, 4, 3), np.uint8)
        images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers % 256, numbers // 256
        sample_ids = tuple(f"{'ab'[number % 2]}/{number:05}" for number in numbers)
        order = np.array(sorted(range(size), key=sample_ids.__getitem__), np.int64)
        labels = np.array([number % 2 for number in numbers], np.int64)
        reader = ArrayReader(images, name, np.arange(size, dtype=np.int64))
        splits[name] = Split(sample_ids, labels, reader).subset(order)
    return ImageDataset(("a", "b"), splits, "made by a test")
