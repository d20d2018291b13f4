"""Preprocessing: Pillow's own resize and crop, torchvision's arithmetic, and bounded cost for any shape."""

import json
import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from allmlp.config import from_dict, to_dict
from allmlp.data import Preprocessing
from allmlp.errors import ConfigError

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def random_photo(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1_000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized_then_cropped(
    photo: NDArray[np.uint8], scaled: tuple[int, int], size: tuple[int, int], name: str
) -> NDArray:
    # Two calls: the order of the passes of a single one depends on Pillow's version.
    image = (
        Image.fromarray(photo).resize((scaled[1], photo.shape[0]), FILTERS[name]).resize(scaled[::-1], FILTERS[name])
    )
    top, left = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    return np.asarray(image.crop((left, top, left + size[1], top + size[0])))


@settings(max_examples=50, deadline=None)
@given(
    st.integers(20, 150),
    st.integers(20, 150),
    st.sampled_from([16, 33, 64]),
    st.sampled_from([1.0, 0.875, 0.5]),
    st.sampled_from(["bilinear", "bicubic"]),
)
def test_crop_is_pillows_resize_of_the_short_side_and_a_centre_crop(
    height: int, width: int, size: int, crop_fraction: float, interpolation: str
) -> None:
    photo = random_photo(height, width)
    # big_vision's resize_small: round(h * ratio); central_crop: offset (h - size) // 2.
    short = round(size / crop_fraction)
    ratio = short / min(height, width)
    scaled = (round(height * ratio), round(width * ratio))
    assume(scaled[0] * scaled[1] <= 16 * size * size)  # panoramas have a test of their own
    expected = resized_then_cropped(photo, scaled, (size, size), interpolation)
    ours = Preprocessing(image_size=size, crop_fraction=crop_fraction, interpolation=interpolation).resize(photo)
    np.testing.assert_array_equal(ours, expected)


def test_panoramas_are_cropped_where_others_are() -> None:
    # Smooth, so that box coordinates, which Pillow takes in float32, hardly show; any shift of the box would.
    wave = np.sin(np.linspace(0, 40 * np.pi, 1_600))[None, :, None] * np.linspace(60, 120, 40)[:, None, None]
    photo = np.repeat((128 + wave).astype(np.uint8), 3, axis=2)
    expected = resized_then_cropped(photo, (32, 1_280), (32, 32), "bicubic")
    ours = Preprocessing(image_size=32).resize(photo)
    assert np.abs(ours.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("law", ["allmlp", "timm"])
def test_tall_panoramas_are_resized_width_first_with_every_version_of_pillow(law: str) -> None:
    """As all other photos: Pillow 13 alone would pass over the height first, which rounds differently by some levels."""
    photo = random_photo(900, 33)
    scaled = (int(900 * 64 / 33) if law == "timm" else round(900 * 64 / 33), 64)
    narrow = Image.fromarray(photo).resize((64, 900), Image.Resampling.BICUBIC)
    whole = narrow.resize(scaled[::-1], Image.Resampling.BICUBIC)
    top = round((scaled[0] - 64) / 2) if law == "timm" else (scaled[0] - 64) // 2
    ours = Preprocessing(image_size=64, law=law).resize(photo)  # type: ignore[arg-type]
    # The box is rounded to float32, which moves it by a millionth of a pixel.
    different = ours != np.asarray(whole.crop((0, top, 64, top + 64)))
    assert different.mean() < 0.001


@pytest.mark.parametrize("crop_fraction", [1.0, 0.875])
@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (300, 300), (7, 9)])
def test_squash_is_pillows_resize_of_both_sides_and_a_centre_crop(shape: tuple[int, int], crop_fraction: float) -> None:
    photo = random_photo(*shape)
    scaled = (round(32 / crop_fraction), round(48 / crop_fraction))
    expected = resized_then_cropped(photo, scaled, (32, 48), "bicubic")
    ours = Preprocessing(image_size=(32, 48), fit="squash", crop_fraction=crop_fraction).resize(photo)
    np.testing.assert_array_equal(ours, expected)


def test_pad_shows_the_whole_photo_on_the_mean_colour() -> None:
    photo = random_photo(40, 80)
    preprocessing = Preprocessing(image_size=(64, 64), fit="pad", mean=(0.0, 0.5, 1.0))
    padded = preprocessing.resize(photo)
    whole = np.asarray(Image.fromarray(photo).resize((64, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(padded[16:48], whole)
    assert np.unique(padded[:16].reshape(-1, 3), axis=0).tolist() == [[0, 128, 255]]
    assert np.unique(padded[48:].reshape(-1, 3), axis=0).tolist() == [[0, 128, 255]]
    upright = preprocessing.resize(photo.transpose(1, 0, 2).copy())
    assert np.unique(upright[:, :16].reshape(-1, 3), axis=0).tolist() == [[0, 128, 255]]


def test_rectangles_are_covered_whole_and_centred() -> None:
    # Left half black, right half white: the centre of any crop stays at the border.
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[:, 100:] = 255
    for size in [(20, 60), (60, 20), (50, 50), (20, 40)]:
        resized = Preprocessing(image_size=size).resize(photo)
        assert resized.shape == (*size, 3)
        assert resized[:, : size[1] // 2 - 3].max(initial=0) == 0
        assert resized[:, size[1] // 2 + 3 :].min(initial=255) == 255


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_a_photo_of_the_right_size_is_returned_itself(fit: str) -> None:
    photo = random_photo(32, 48)
    assert Preprocessing(image_size=(32, 48), fit=fit).resize(photo) is photo


def test_a_photo_of_the_scaled_size_is_only_cut() -> None:
    photo = random_photo(256, 256)
    resized = Preprocessing(image_size=224, crop_fraction=0.875).resize(photo)
    np.testing.assert_array_equal(resized, photo[16:240, 16:240])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["crop", "squash", "pad"]),
    st.floats(0.05, 1.0),
)
def test_any_photo_gets_the_size_asked_for(
    height: int, width: int, target_height: int, target_width: int, fit: str, crop_fraction: float
) -> None:
    preprocessing = Preprocessing(
        image_size=(target_height, target_width), fit=fit, crop_fraction=1.0 if fit == "pad" else crop_fraction
    )
    gray = np.full((height, width, 3), 128, np.uint8)
    resized = preprocessing.resize(gray)
    assert resized.shape == (target_height, target_width, 3)
    assert resized.dtype == np.uint8
    assert (resized == 128).all()


@pytest.mark.parametrize("shape", [(1, 65_535), (65_535, 1), (1, 1), (4_000, 1)])
@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_extreme_shapes_cost_no_more_than_their_crop(shape: tuple[int, int], fit: str) -> None:
    photo = np.full((*shape, 3), 200, np.uint8)
    tracemalloc.start()
    start = time.process_time()
    try:
        resized = Preprocessing(image_size=224, fit=fit).resize(photo)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert resized.shape == (224, 224, 3)
    assert time.process_time() - start < 1.0  # scaling 65,535 x 1 to a short side of 224 would be 3 gigapixels
    assert peak < 20e6


def test_normalise_is_torchvisions_arithmetic_to_the_bit() -> None:
    # ToTensor divides float32 by 255; Normalize subtracts the mean and divides by the deviation, in float32.
    torch = pytest.importorskip("torch")
    photos = np.arange(256, dtype=np.uint8).repeat(3 * 4).reshape(4, 16, 16, 3)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = torch.from_numpy(photos).permute(0, 3, 1, 2).to(torch.float32).div(255)
    expected = images.sub(torch.tensor(mean).view(-1, 1, 1)).div(torch.tensor(std).view(-1, 1, 1)).numpy()
    ours = Preprocessing(image_size=16, mean=mean, std=std).normalise(photos)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, expected)


def test_the_default_range_is_minus_one_to_one_exactly() -> None:
    photos = np.array([0, 255, 51], np.uint8).reshape(1, 1, 1, 3)
    values = Preprocessing(image_size=1).normalise(photos).ravel()
    assert values[:2].tolist() == [-1.0, 1.0]
    assert math.isclose(values[2], -0.6, abs_tol=1e-7)


def test_calling_it_resizes_and_normalises_one_photo() -> None:
    photo = random_photo(50, 70)
    preprocessing = Preprocessing(image_size=(16, 24))
    image = preprocessing(photo)
    assert image.shape == (3, 16, 24)
    np.testing.assert_array_equal(image, preprocessing.normalise(preprocessing.resize(photo)[None])[0])


def test_it_survives_json() -> None:
    original = Preprocessing(image_size=(32, 48), fit="squash", crop_fraction=0.9, mean=(0.4, 0.5, 0.6))
    values = json.loads(json.dumps(to_dict(original)))
    assert from_dict(Preprocessing, values, where="config.json") == original


def test_an_int_is_squared() -> None:
    assert Preprocessing(image_size=32) == Preprocessing(image_size=(32, 32))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "fragments"),
    [
        ({"image_size": 0}, ["image_size is (0, 0)"]),
        ({"image_size": (32,)}, ["image_size is (32,)"]),
        ({"image_size": (32, 1.5)}, ["image_size is (32, 1.5)"]),
        ({"image_size": True}, ["image_size"]),
        ({"fit": "stretch"}, ["fit is 'stretch'; expected one of crop, squash, pad"]),
        ({"interpolation": "nearest"}, ["interpolation is 'nearest'"]),
        ({"crop_fraction": 0.0}, ["crop_fraction is 0.0"]),
        ({"crop_fraction": 1.1}, ["crop_fraction is 1.1"]),
        ({"crop_fraction": math.nan}, ["crop_fraction is nan"]),
        ({"fit": "pad", "crop_fraction": 0.9}, ["fit='pad' crops nothing"]),
        ({"mean": (0.5, math.nan, 0.5)}, ["mean is"]),
        ({"std": (0.5, 0.0, 0.5)}, ["std is"]),
        ({"std": (0.5, 0.5)}, ["std is"]),
        ({"fit": "stretch", "std": (0, 0, 0), "image_size": -1}, ["fit is", "std is", "image_size is"]),
    ],
)
def test_values_out_of_range_are_all_named(values: dict[str, object], fragments: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Preprocessing(**{"image_size": 32, **values})
    for fragment in fragments:
        assert fragment in str(caught.value)
