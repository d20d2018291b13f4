"""A run with random weights, and photos of its classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from allmlp import Checkpoint, MixerConfig, MlpMixer, Preprocessing, save_checkpoint

CLASS_NAMES = ("cat", "dog", "owl", "yak", "zebra", "gnu")


def build_checkpoint() -> Checkpoint:
    torch.manual_seed(3)
    config = MixerConfig(
        image_size=16,
        patch_size=8,
        num_blocks=1,
        hidden_dim=16,
        tokens_mlp_dim=8,
        channels_mlp_dim=32,
        num_classes=len(CLASS_NAMES),
    )
    model = MlpMixer(config)
    assert model.head is not None
    torch.nn.init.normal_(model.head.weight)  # a fresh one is zero and would answer all photos alike
    return Checkpoint(
        config=config,
        weights=model.state_dict(),
        preprocessing=Preprocessing(image_size=16),
        class_names=CLASS_NAMES,
        source="random weights",
        temperature=1.5,
    )


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
