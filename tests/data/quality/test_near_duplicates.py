"""Near duplicates: copies that were saved again, resized or cropped are found; photos that only resemble are not."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from allmlp.data import decode, open_dataset
from allmlp.data.decoding.rgb import averaged_pixels
from allmlp.data.quality.near_duplicates import near_groups
from allmlp.data.quality.photo_facts import THUMBNAIL_SIDE, perceptual_hash


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    split = open_dataset("clothing").splits["train"]
    return [Image.fromarray(decode(split.read(index), name="")) for index in range(0, 1000, 10)]


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def _cut(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    sides = (width * left, height * top, width * (1 - right), height * (1 - bottom))
    return image.crop(tuple(map(round, sides)))


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    return averaged_pixels(pixels, THUMBNAIL_SIDE)


def small(image: Image.Image) -> np.ndarray:
    return thumbnail(np.asarray(image))


# The photos have 64 pixels and fill them: larger photos are easier.
@pytest.mark.parametrize(
    ("change", "share"),
    [
        (lambda image: _jpeg(image, 90), 1.0),
        (lambda image: _jpeg(image, 30), 0.98),
        (lambda image: image.resize((40, 40)), 0.97),
        (lambda image: image.resize((300, 200)), 0.98),
        (lambda image: _jpeg(image.resize((130, 130)), 50), 0.97),
        (lambda image: _cut(image, 0.02, 0.02, 0.02, 0.02), 0.9),
        (lambda image: _cut(image, 0.05, 0, 0, 0), 0.9),
        (lambda image: _cut(image, 0.05, 0.05, 0.05, 0.05), 0.75),
    ],
)
def test_changed_copies_are_found(
    photos: list[Image.Image], change: Callable[[Image.Image], Image.Image], share: float
) -> None:
    groups = near_groups([small(photo) for photo in photos] + [small(change(photo)) for photo in photos])
    expected = [[index, index + len(photos)] for index in range(len(photos))]
    assert all(group in expected for group in groups)
    assert len(groups) >= share * len(photos)


def test_different_photos_are_not_alike(photos: list[Image.Image]) -> None:
    assert near_groups([small(photo) for photo in photos]) == []


@pytest.mark.parametrize("noise", [0, 3, 20])
def test_uniform_photos_are_not_alike(noise: int) -> None:
    generator = np.random.default_rng(0)
    colours = [generator.integers(30, 220, 3) for _ in range(40)] + [np.array([120, 120, 120])] * 20
    images = [np.clip(generator.normal(colour, noise, (64, 64, 3)), 0, 255).astype(np.uint8) for colour in colours]
    assert near_groups([thumbnail(image) for image in images]) == []
    assert perceptual_hash(thumbnail(np.full((9, 9, 3), 7, np.uint8))) is None


def test_the_same_shape_in_another_colour_or_place_is_another_photo() -> None:
    def disc(colour: tuple[int, int, int], x: int, y: int) -> np.ndarray:
        rows, columns = np.mgrid[:64, :64]
        image = np.full((64, 64, 3), 245, np.uint8)
        image[(rows - y) ** 2 + (columns - x) ** 2 < 150] = colour
        return thumbnail(image)

    red, blue = (200, 30, 30), (30, 30, 200)
    assert near_groups([disc(red, 32, 32), disc(blue, 32, 32), disc(red, 20, 44), disc(red, 45, 18)]) == []
    assert near_groups([disc(red, 32, 32), disc(red, 32, 32)]) == [[0, 1]]


def test_groups_are_connected_and_in_order(photos: list[Image.Image]) -> None:
    first, second = photos[0], photos[1]
    images = [second, first, _jpeg(first, 50), first.resize((50, 50)), _jpeg(second, 50)]
    assert near_groups([small(image) for image in images]) == [[0, 4], [1, 2, 3]]


def test_no_photos_have_no_groups() -> None:
    assert near_groups([]) == []


def test_many_copies_of_one_photo_take_no_quadratic_time(photos: list[Image.Image]) -> None:
    generator = np.random.default_rng(0)
    first = small(photos[0]).astype(int)
    images = [np.clip(first + generator.integers(-1, 2, first.shape), 0, 255).astype(np.uint8) for _ in range(400)]
    (group,) = near_groups(images)  # every pair would be 80,000 comparisons
    assert group == list(range(400))


@pytest.mark.parametrize("size", [(7, 5), (640, 480), (3000, 20), (31, 2000)])
def test_a_thumbnail_averages_the_whole_photo(size: tuple[int, int]) -> None:
    ramp = np.linspace(0, 255, size[0])[None, :, None] * np.ones((size[1], 1, 3))
    found = thumbnail(ramp.astype(np.uint8)).astype(int)
    assert (np.diff(found[0, :, 0]) >= 0).all()
    assert abs(found.mean() - ramp.mean()) < 3
