"""A run with random weights, and photos of its classes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint, save_checkpoint

CLASS_NAMES = ("cat", "dog", "owl", "yak", "zebra", "gnu")


def build_checkpoint() -> Checkpoint:
    return tiny_checkpoint(seed=3, num_classes=len(CLASS_NAMES), class_names=CLASS_NAMES, temperature=1.5)


def write_photos(root: Path, number: int) -> None:
    generator = np.random.default_rng(number)
    for name in ("yak", "cat", "owl"):
        (root / name).mkdir(parents=True)
        for index in range(number):
            pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}-{index}.png")


@pytest.fixture
def checkpoint() -> Checkpoint:
    return build_checkpoint()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """photos/{train,test}/<class>/*.png: 6 and 4 photos of each of 3 classes."""
    for split, number in (("train", 6), ("test", 4)):
        write_photos(tmp_path / "photos" / split, number)
    return tmp_path / "photos"


@pytest.fixture
def run(tmp_path: Path, photos: Path) -> Path:
    """A run folder whose run held two photos of `photos`'s train out for validation."""
    folder = tmp_path / "runs" / "mine"
    save_checkpoint(build_checkpoint(), folder / "checkpoints" / "best")
    train = photos / "train"
    sample_ids = sorted(path.relative_to(train).as_posix() for path in train.rglob("*.png"))
    (folder / "split.json").write_text(json.dumps({"train": sample_ids[2:], "validation": sample_ids[:2]}))
    (folder / "recipe.json").write_text("{}")
    return folder
