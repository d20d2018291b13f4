"""Random crops: the areas, ratios and shifts of their definitions, and those that TensorFlow drew."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

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


def tensorflow_box(
    height: int, width: int, min_area: float, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a crop by the law in words (the docstring of `crops`), one number at a time."""
    for _ in range(100):
        ratio = generator.uniform(0.75, 1.33)
        low, high = round(math.sqrt(min_area * height * width / ratio)), round(math.sqrt(height * width / ratio))
        while round(high * ratio) > width:
            high -= 1
        high = min(high, height)
        low = min(low, high)
        box_height = int(generator.integers(low, high + 1))
        if round(box_height * ratio) * box_height < min_area * height * width:
            box_height += 1
        if round(box_height * ratio) * box_height > height * width:
            box_height -= 1
        box_width = round(box_height * ratio)
        is_inside = 0 < box_width <= width and 0 < box_height <= height
        if is_inside and min_area * height * width <= box_width * box_height <= height * width:
            left = int(generator.integers(width - box_width)) if box_width < width else 0
            top = int(generator.integers(height - box_height)) if box_height < height else 0
            return left, top, box_width, box_height
    return 0, 0, width, height


def tensorflow_boxes(size: tuple[int, int], count: int, *, min_area: float = 0.05) -> NDArray[np.float64]:
    crop = Augmentation(crop="inception", crop_law="tensorflow", min_crop_area=min_area)
    draws = np.random.default_rng(7).random((count, 23))
    return draw_crops(crop, draws, np.tile(size, (count, 1)), image_size=(224, 224), fit="crop").boxes


def is_same_law(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> bool:
    """Whether two samples pass the Kolmogorov-Smirnov test at a level of 0.001."""
    values = np.sort(np.concatenate([ours, theirs]))
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (ours, theirs)]
    distance = np.abs(shares[0] - shares[1]).max()
    return bool(distance < 1.95 * math.sqrt((len(ours) + len(theirs)) / (len(ours) * len(theirs))))


def measures(boxes: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    left, top, width, height = boxes.T
    return {"area": width * height, "ratio": width / height, "left": left, "top": top}


@pytest.mark.parametrize(("size", "min_area"), [((375, 500), 0.05), ((40, 50), 0.5)])
def test_tensorflows_crops_have_the_law_in_words(size: tuple[int, int], min_area: float) -> None:
    generator = np.random.default_rng(5)
    theirs = measures(np.array([tensorflow_box(*size, min_area, generator) for _ in range(100_000)], np.float64))
    ours = measures(tensorflow_boxes(size, 100_000, min_area=min_area))
    for name, values in ours.items():
        assert is_same_law(values, theirs[name]), name


def test_tensorflows_crops_have_the_law_of_those_that_tensorflow_drew() -> None:
    with np.load(Path(__file__).parents[2] / "golden" / "tensorflow_expected.npz") as file:
        top, left, height, width = file["draws"].astype(np.float64).T
    theirs = measures(np.stack([left, top, width, height], axis=1))
    for name, values in measures(tensorflow_boxes((375, 500), 100_000)).items():
        assert is_same_law(values, theirs[name]), name


def test_mean_areas_of_the_two_laws() -> None:
    """Of photos of 500 x 375, with a minimum of 5 % of the area."""
    boxes = tensorflow_boxes((375, 500), 100_000)
    assert (boxes[:, 2] * boxes[:, 3]).mean() / (375 * 500) == pytest.approx(0.342, abs=0.005)
    draws = np.random.default_rng(7).random((100_000, 23))
    crop = Augmentation(crop="inception", min_crop_area=0.05)
    boxes = draw_crops(crop, draws, np.tile([375, 500], (100_000, 1)), image_size=(224, 224), fit="crop").boxes
    assert (boxes[:, 2] * boxes[:, 3]).mean() / (375 * 500) == pytest.approx(0.416, abs=0.005)


def test_tensorflows_crops_are_whole_pixels_inside_of_the_photo() -> None:
    left, top, width, height = tensorflow_boxes((47, 61), 20_000).T
    assert all((values == np.floor(values)).all() for values in (left, top, width, height))
    assert left.min() == top.min() == 0 and (left + width).max() <= 61 and (top + height).max() <= 47
    area = width * height / (47 * 61)
    assert area.min() >= 0.05 and area.max() <= 1.0


def test_tensorflow_takes_a_panorama_whole_after_its_tries() -> None:
    boxes = tensorflow_boxes((10, 1000), 50)
    np.testing.assert_array_equal(boxes, np.tile([0, 0, 1000, 10], (50, 1)))


def test_tensorflows_later_tries_depend_on_the_image_alone() -> None:
    """Of a photo whose first ten tries rarely fit, alone or in a batch."""
    crop = Augmentation(crop="inception", crop_law="tensorflow", min_crop_area=0.95)
    draws, sizes = np.random.default_rng(2).random((200, 23)), np.tile([30, 40], (200, 1))
    together = draw_crops(crop, draws, sizes, image_size=(16, 16), fit="crop").boxes
    alone = [draw_crops(crop, draws[i : i + 1], sizes[:1], image_size=(16, 16), fit="crop").boxes for i in range(200)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert 0 < (together[:, 2] < 40).mean() < 1  # some found a crop, others took the whole photo
