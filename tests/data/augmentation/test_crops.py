"""Random crops: the areas, ratios and shifts of their definitions."""

import numpy as np
import pytest

from allmlp.data import Augmentation
from allmlp.data.augmentation.crops import draw_crops


def test_inception_crops_lie_in_the_photo_and_have_the_areas_and_ratios_of_the_definition() -> None:
    draws = np.random.default_rng(0).random((20_000, 23))
    sizes = np.tile([90, 120], (20_000, 1))
    crop = Augmentation(crop="inception", min_crop_area=0.25, flip=True)
    boxes, flips = draw_crops(crop, draws, sizes, image_size=(64, 64), fit="crop")
    left, top, width, height = boxes.T
    assert (left >= 0).all() and (top >= 0).all()
    assert (left + width <= 120 + 1e-9).all() and (top + height <= 90 + 1e-9).all()
    area, ratio = width * height / (90 * 120), width / height
    assert area.min() >= 0.25 and area.max() <= 1.0
    assert ratio.min() >= 0.75 - 1e-9 and ratio.max() <= 4 / 3 + 1e-9
    assert abs(flips.mean() - 0.5) < 0.02


def test_a_panorama_falls_back_to_the_largest_permitted_centre() -> None:
    crop = Augmentation(crop="inception", min_crop_area=0.9)
    boxes, _ = draw_crops(crop, np.full((1, 23), 0.5), np.array([[10, 1000]]), image_size=(64, 64), fit="crop")
    left, top, width, height = boxes[0]
    assert (top, height) == (0.0, 10.0)
    assert width == pytest.approx(10 * 4 / 3)
    assert left + width / 2 == pytest.approx(500)


def test_a_pad_crop_shifts_by_whole_output_pixels_up_to_its_reach() -> None:
    crop = Augmentation(crop="pad", pad_pixels=4)
    draws = np.random.default_rng(0).random((5000, 23))
    boxes, _ = draw_crops(crop, draws, np.tile([64, 64], (5000, 1)), image_size=(32, 32), fit="crop")
    shifts = boxes[:, :2] / 2  # two photo pixels an output pixel
    assert set(np.unique(shifts)) == set(range(-4, 5))
