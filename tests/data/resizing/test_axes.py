"""Pillow's resize by axes: the same bits with every version of Pillow."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from allmlp.data import Preprocessing
from allmlp.data.decoding.rgb import averaged
from allmlp.data.resizing.axes import resize_box_by_axes, resize_by_axes

with np.load(Path(__file__).parents[2] / "golden" / "pillow_expected.npz") as file:
    GOLDEN = dict(file)
RESIZED = [name for name in GOLDEN if name.count("/") == 2]
BOXES = [name for name in GOLDEN if name.count("/") == 3]
AVERAGED = [name for name in GOLDEN if name.count("/") == 1]


@pytest.mark.parametrize("name", RESIZED)
def test_pixels_are_those_of_pillow_11(name: str) -> None:
    photo, interpolation, size = name.split("/")
    height, width = map(int, size.split("x"))
    resized = resize_by_axes(Image.fromarray(GOLDEN[photo]), (width, height), Image.Resampling[interpolation.upper()])
    np.testing.assert_array_equal(np.asarray(resized), GOLDEN[name])


@pytest.mark.parametrize("name", BOXES)
def test_pixels_of_a_box_are_those_of_pillow_11(name: str) -> None:
    photo, interpolation, size, words = name.split("/")
    height, width = map(int, size.split("x"))
    left, top, right, bottom = map(float, words.split("_"))
    kernel = Image.Resampling[interpolation.upper()]
    resized = resize_box_by_axes(Image.fromarray(GOLDEN[photo]), (width, height), kernel, (left, top, right, bottom))
    np.testing.assert_array_equal(np.asarray(resized), GOLDEN[name])


@pytest.mark.parametrize("name", AVERAGED)
def test_averages_are_those_of_pillow_11(name: str) -> None:
    """By which near duplicates are found."""
    photo, side = name.split("/")
    np.testing.assert_array_equal(averaged(Image.fromarray(GOLDEN[photo]), int(side)), GOLDEN[name])


@pytest.mark.parametrize("name", [name for name in RESIZED if "/box/" not in name])
def test_a_models_input_has_pillow_11s_pixels(name: str) -> None:
    photo, interpolation, size = name.split("/")
    height, width = map(int, size.split("x"))
    preprocessing = Preprocessing(image_size=(height, width), fit="squash", interpolation=interpolation)
    np.testing.assert_array_equal(preprocessing.resize(GOLDEN[photo]), GOLDEN[name])


def test_two_calls_make_one_pass_each() -> None:
    """What one call makes of a single axis is the same in all versions, so that nothing is left to choose between passes."""
    image = Image.fromarray(GOLDEN["90x21"])
    wide = image.resize((8, 90), Image.Resampling.BICUBIC)
    expected = np.asarray(wide.resize((8, 34), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(np.asarray(resize_by_axes(image, (8, 34), Image.Resampling.BICUBIC)), expected)


def test_an_image_of_the_size_is_returned_itself() -> None:
    image = Image.fromarray(GOLDEN["90x21"])
    assert resize_by_axes(image, image.size, Image.Resampling.BICUBIC) is image
