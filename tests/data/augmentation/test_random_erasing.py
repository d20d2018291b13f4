"""Random erasing: timm's, which we did not write, is the oracle of its distribution."""

import random

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from timm.data.random_erasing import RandomErasing

from allmlp import ConfigError
from allmlp.data import Augmentation, sample_keys, uniform
from allmlp.data.augmentation.random_erasing import NUM_ERASING_DRAWS, Erasures, draw_erasures
from allmlp.data.augmentation.warp import erase_images

COUNT = 4000


def erasures(probability: float, *, image_size: tuple[int, int] = (64, 64), count: int = COUNT) -> Erasures:
    draws = uniform(0, 0, sample_keys([str(index) for index in range(count)]), NUM_ERASING_DRAWS)
    drawn = draw_erasures(Augmentation(random_erasing=probability), draws, image_size=image_size)
    assert drawn is not None
    return drawn


def sides(rectangles: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return rectangles[:, 1] - rectangles[:, 0], rectangles[:, 3] - rectangles[:, 2]


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_the_probability_is_the_share_of_erased_samples(probability: float) -> None:
    share = (erasures(probability).areas() > 0).mean()
    assert abs(share - probability) <= 4 * np.sqrt(probability * (1 - probability) / COUNT)


def test_rectangles_lie_in_the_image_and_have_the_areas_and_ratios_of_the_definition() -> None:
    height, width = sides(erasures(1.0, image_size=(192, 256)).rectangles)
    rectangles = erasures(1.0, image_size=(192, 256)).rectangles
    assert rectangles.min() == 0
    assert rectangles[:, 1].max() == 192 and rectangles[:, 3].max() == 256
    area, ratio = height * width / (192 * 256), height / width
    # Sides are rounded to whole pixels, of at least 15.
    assert 0.02 * 0.95 < area.min() < 0.022 and 0.32 < area.max() < 1 / 3 * 1.02
    assert 0.3 * 0.95 < ratio.min() < 0.32 and 1 / 0.32 < ratio.max() < 1 / 0.3 * 1.05


def test_areas_ratios_and_places_are_distributed_as_timms() -> None:
    image_size = (48, 96)
    state = random.getstate()
    random.seed(0)
    try:
        images = RandomErasing(probability=1.0, mode="pixel", device="cpu")(torch.zeros(COUNT, 3, *image_size))
    finally:
        random.setstate(state)
    erased = (images != 0).any(dim=1).numpy()
    rows, columns = erased.any(axis=2), erased.any(axis=1)
    timms = np.stack(
        [
            rows.argmax(axis=1),
            rows.argmax(axis=1) + rows.sum(axis=1),
            columns.argmax(axis=1),
            columns.argmax(axis=1) + columns.sum(axis=1),
        ],
        axis=1,
    )
    mine = erasures(1.0, image_size=image_size).rectangles
    for one, two in (
        *zip(mine.T, timms.T, strict=True),
        *zip(sides(mine), sides(timms), strict=True),
        (np.prod(sides(mine), axis=0), np.prod(sides(timms), axis=0)),
    ):
        values = np.union1d(one, two)
        gap = np.searchsorted(np.sort(one), values, "right") - np.searchsorted(np.sort(two), values, "right")
        # Kolmogorov–Smirnov of two samples: exceeded by chance once in a thousand times; all draws are fixed.
        assert np.abs(gap).max() / COUNT < 1.95 * np.sqrt(2 / COUNT)


def test_a_rectangle_is_standard_normal_noise_of_its_own_and_the_rest_is_untouched() -> None:
    count = 64
    images = torch.full((count, 3, 64, 64), 7.0)
    chosen = erasures(0.5, count=count)
    erased = erase_images(images, chosen)
    assert torch.all(images == 7.0)
    noise = []
    for image, (top, bottom, left, right) in zip(erased, chosen.rectangles, strict=True):
        inside = torch.zeros(64, 64, dtype=torch.bool)
        inside[top:bottom, left:right] = True
        assert torch.all(image[:, ~inside] == 7.0)
        noise.append(image[:, inside].flatten())
    values = torch.cat(noise)
    assert len(values) > 20_000
    assert abs(values.mean()) < 4 / len(values) ** 0.5
    assert abs(values.std() - 1.0) < 0.02
    first = [part[0].item() for part in noise if len(part)]
    assert len(set(first)) == len(first)
    assert torch.equal(erase_images(images, chosen), erased)


def test_off_is_off() -> None:
    images = torch.zeros(2, 3, 8, 8)
    assert draw_erasures(Augmentation(), np.zeros((2, 0)), image_size=(8, 8)) is None
    assert erase_images(images, None) is images
    with pytest.raises(ConfigError, match=r"random_erasing is 1\.5; expected a probability"):
        Augmentation(random_erasing=1.5)
