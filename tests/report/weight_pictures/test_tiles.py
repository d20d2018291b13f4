"""Tiles: red is positive, blue negative, white 0, each unit on its own scale; filters in their own colours."""

import numpy as np
import pytest

from allmlp.report.weight_pictures.tiles import colour_bar, filter_tiles, unit_tiles


def test_each_unit_has_its_own_scale_around_white() -> None:
    picture = np.array([[1, 0], [-1, 0.5]], np.float32)
    small, large = unit_tiles(np.stack([0.001 * picture, 1000 * picture]))
    np.testing.assert_array_equal(small, large)
    height, width, _ = small.shape
    red, white, blue, pale = (
        small[y * height // 4, x * width // 4].astype(int) for y, x in ((1, 1), (1, 3), (3, 1), (3, 3))
    )
    assert red[0] > red[2] + 50 and blue[2] > blue[0] + 50
    assert white.min() > 240
    assert pale[0] > pale[2] and red.min() < pale.min() < white.min()


def test_a_unit_of_zeros_is_white_and_a_filter_of_zeros_grey() -> None:
    assert unit_tiles(np.zeros((1, 3, 3), np.float32))[:, 1:-1, 1:-1].min() > 240
    assert set(np.unique(filter_tiles(np.zeros((1, 3, 4, 4), np.float32))[:, 1:-1, 1:-1])) == {128}


def test_a_filter_is_drawn_in_its_own_colours() -> None:
    weights = np.zeros((1, 3, 2, 2), np.float32)
    weights[0, :, 0, 0] = (0.2, 0, -0.2)
    weights[0, :, 1, 1] = (-0.1, -0.1, -0.1)
    tile = filter_tiles(weights)[0, 1:-1, 1:-1]
    assert tile[0, 0].tolist() == [255, 128, 0]
    assert tile[-1, -1].tolist() == [64, 64, 64]
    assert tile[0, -1].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    ("grid", "size"),
    [
        ((1, 2), (24, 48)),
        ((8, 8), (48, 48)),
        ((14, 14), (42, 42)),
        ((2, 7), (14, 49)),
        ((100, 50), (100, 50)),
        ((256, 64), (128, 32)),
    ],
)
def test_within_a_frame_cells_are_enlarged_by_a_whole_number_and_large_grids_are_reduced(
    grid: tuple[int, int], size: tuple[int, int]
) -> None:
    pictures = np.random.default_rng(0).standard_normal((2, *grid), dtype=np.float32)
    size = (size[0] + 2, size[1] + 2)
    assert unit_tiles(pictures).shape == (2, *size, 3)
    assert unit_tiles(pictures[:0]).shape == (0, *size, 3)
    assert filter_tiles(np.repeat(pictures[:, None], 3, axis=1)).shape == (2, *size, 3)


def test_the_colour_bar_goes_from_blue_to_red() -> None:
    bar = colour_bar(101, 3).astype(int)
    assert bar.shape == (3, 101, 3)
    assert bar[0, 0, 2] > bar[0, 0, 0] and bar[0, -1, 0] > bar[0, -1, 2]
    assert bar[0, 50].min() > 240
