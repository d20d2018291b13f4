"""Augmented pixels: Pillow, whose antialiased resize we did not write, is the oracle."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from allmlp.data import Augmentation, Preprocessing
from allmlp.data.augmentation.crops import Crops, draw_crops
from allmlp.data.augmentation.warp import resample, truncate_levels

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def photos(*sizes: tuple[int, int], seed: int = 0) -> list[NDArray[np.uint8]]:
    """Smooth random photos, so that a filter's rounding shows and aliasing does not hide it."""
    generator = np.random.default_rng(seed)
    return [
        np.asarray(Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height), 3))
        for height, width in sizes
    ]


def canvas(parts: list[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
    sizes = np.array([part.shape[:2] for part in parts])
    stacked = np.full((len(parts), *sizes.max(axis=0), 3), 255, dtype=np.uint8)  # rubbish outside of the photos
    for row, part in zip(stacked, parts, strict=True):
        row[: part.shape[0], : part.shape[1]] = part
    return torch.from_numpy(stacked), torch.from_numpy(sizes)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("image_size", [(24, 24), (20, 32), (90, 70)])
def test_resample_equals_pillow_with_a_box(interpolation: str, image_size: tuple[int, int]) -> None:
    parts = photos((64, 64), (48, 80), (50, 33), (64, 80))
    boxes = np.array([[0, 0, 64, 64], [10.25, 3.5, 41.3, 30.7], [2.0, 5.0, 20.0, 40.0], [30.5, 20.1, 45.2, 40.3]])
    flips = np.array([False, True, False, True])
    pixels, sizes = canvas(parts)
    got = resample(pixels, sizes, Crops(boxes, flips), image_size=image_size, interpolation=interpolation, **PLAIN)
    for part, (left, top, width, height), flip, mine in zip(parts, boxes, flips, got.numpy(), strict=True):
        wanted = np.asarray(
            Image.fromarray(part).resize(
                image_size[::-1], FILTERS[interpolation], box=(left, top, left + width, top + height)
            )
        ).astype(float)
        wanted = wanted[:, ::-1] if flip else wanted
        # Pillow rounds to whole grey levels twice (after columns, after rows) and clips; we do neither.
        assert np.abs(mine.transpose(1, 2, 0).clip(0, 1) * 255 - wanted).max() < 1.6


def test_crops_without_antialiasing_are_tensorflows() -> None:
    """Reduced, enlarged and at edges: vit_jax's pixels, and big_vision's, which are cast to uint8."""
    with np.load(Path(__file__).parents[2] / "golden" / "tensorflow_expected.npz") as file:
        golden = dict(file)
    keys = [name.removesuffix("/vit_jax") for name in golden if name.startswith("crop/") and name.endswith("/vit_jax")]
    boxes = np.array([[float(side) for side in key.removeprefix("crop/").split(",")] for key in keys])[:, [1, 0, 3, 2]]
    pixels, sizes = canvas([golden["wide"]] * len(keys))
    crops = Crops(boxes, np.zeros(len(keys), np.bool_))
    colours = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    how = {"image_size": (14, 14), "interpolation": "bilinear", "antialias": False, "is_cut": True, **colours}
    images = resample(pixels, sizes, crops, **how)
    truncated = truncate_levels(images.clone(), **colours)
    for key, image, cast in zip(keys, images.permute(0, 2, 3, 1), truncated.permute(0, 2, 3, 1), strict=True):
        levels = golden[f"{key}/vit_jax"]
        np.testing.assert_allclose(image.numpy() * 127.5 + 127.5, levels, atol=1e-3)  # float32 at 255
        # Where a level is whole in exact arithmetic, TensorFlow's may be just below it, and is then cast to the one before.
        is_whole = np.abs(levels - np.rint(levels)) < 2e-3
        differences = cast.numpy() * 127.5 + 127.5 - golden[f"{key}/big_vision"]
        assert np.abs(differences[~is_whole]).max(initial=0) < 1e-4
        assert (differences > -1e-4).all() and differences.max() < 1 + 1e-4


@pytest.mark.parametrize("interpolation", FILTERS)
def test_the_whole_photo_at_its_own_size_is_untouched(interpolation: str) -> None:
    (part,) = photos((32, 32))
    pixels, sizes = canvas([part])
    whole = Crops(np.array([[0.0, 0.0, 32.0, 32.0]]), np.array([False]))
    got = resample(pixels, sizes, whole, image_size=(32, 32), interpolation=interpolation, **PLAIN)
    assert np.array_equal(np.round(got[0].numpy().transpose(1, 2, 0) * 255), part)


def test_a_shift_moves_pixels_exactly_and_fills_with_the_mean_colour() -> None:
    (part,) = photos((32, 32))
    pixels, sizes = canvas([part])
    shifted = Crops(np.array([[3.0, -2.0, 32.0, 32.0]]), np.array([False]))
    got = resample(
        pixels, sizes, shifted, image_size=(32, 32), interpolation="bicubic", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)
    )
    wanted = (part.transpose(2, 0, 1) / 255 - np.array([0.5, 0.4, 0.3])[:, None, None]) / 0.2
    assert np.allclose(got[0, :, 2:, :-3], wanted[:, :-2, 3:], atol=1e-5)
    assert torch.all(got[0, :, :2] == 0.0)
    assert torch.all(got[0, :, :, -3:] == 0.0)


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    parts = photos((40, 40), (60, 30), (33, 64))
    crops = Crops(np.array([[1.5, 2.5, 30, 30], [0, 0, 30, 60], [5, 5, 50, 20.0]]), np.array([True, False, True]))
    options = {"image_size": (16, 16), "interpolation": "bicubic", **PLAIN}
    together = resample(*canvas(parts), crops, **options)
    for index, part in enumerate(parts):
        alone = resample(*canvas([part]), Crops(crops.boxes[[index]], crops.flips[[index]]), **options)
        assert torch.allclose(alone[0], together[index], atol=1e-6)


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("crop_fraction", [1.0, 0.875])
def test_without_augmentation_training_sees_what_evaluation_sees(fit: str, crop_fraction: float) -> None:
    # Scales to whole pixels, so that evaluation has no size to round.
    (part,) = photos((60, 120) if fit == "pad" else (80, 120))
    pixels, sizes = canvas([part])
    size = {"image_size": (28, 28), "fit": fit, "crop_fraction": 1.0 if fit == "pad" else crop_fraction}
    crops = draw_crops(Augmentation(), np.zeros((1, 23)), sizes.numpy(), **size)
    evaluation = Preprocessing(**size, interpolation="bicubic")
    options = {"image_size": (28, 28), "interpolation": "bicubic", "mean": evaluation.mean, "std": evaluation.std}
    training = resample(pixels, sizes, crops, **options)[0].numpy()
    # Evaluation rounds to grey levels, of 2 / 255 in these units, twice, and clips; the edge of a crop may see beyond it.
    assert np.abs(training.clip(-1, 1) - evaluation(part)).mean() < 0.01
