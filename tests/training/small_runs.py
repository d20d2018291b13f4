"""A run of seconds: photos of three colours, and a recipe in which everything that draws from chance is on."""

from pathlib import Path

import numpy as np
from PIL import Image

from allmlp import Recipe
from allmlp.data import Augmentation
from allmlp.model import MixerTemplate
from allmlp.training import OptimizerConfig

CLASSES = ("blue", "green", "red")

TINY = Recipe(
    name="tiny",
    model=MixerTemplate(
        image_size=(16, 16),
        patch_size=4,
        num_blocks=2,
        hidden_dim=16,
        tokens_mlp_dim=8,
        channels_mlp_dim=24,
        stochastic_depth=0.3,
        dropout=0.1,
    ),
    num_epochs=3,
    batch_size=16,
    augmentation=Augmentation(
        crop="inception",
        min_crop_area=0.3,
        flip=True,
        color_jitter=0.3,
        hue_jitter=0.1,
        mixup=0.4,
        cutmix=1.0,
        label_smoothing=0.1,
    ),
    optimizer=OptimizerConfig(name="muon", learning_rate=0.02, adamw_learning_rate=0.01, momentum=0.9),
    ema_decay=0.9,
    precision="float32",
)


def tiny() -> Recipe:
    """Return the recipe, for `--recipe tests.training.small_runs:tiny`."""
    return TINY


def write_photos(root: Path, *, per_class: int = 14, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """Photos whose class is their colour, with noise, in two sizes."""
    generator = np.random.default_rng(0)
    for split in splits:
        for label, name in enumerate(CLASSES):
            for index in range(per_class):
                pixels = generator.integers(0, 120, (20 + 8 * (index % 2), 24, 3))
                pixels[..., 2 - label] += 130
                path = root / split / name / f"{index:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def write_few_photos(root: Path, numbers: tuple[int, ...]) -> Path:
    """Write so many photos of noise per class, all different."""
    for label, number in enumerate(numbers):
        for index in range(number):
            pixels = np.random.default_rng([label, index]).integers(0, 256, (20, 24, 3), dtype=np.uint8)
            path = root / f"class{label}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root
