"""Panels: which tiles are shown, in which order, and what is written next to them."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tests.explanations.test_opposing_pairs import planted

from allmlp.explanations import HiddenUnits, PatchFilters
from allmlp.explanations.opposing_pairs import pair_opposites, picture_frequencies
from allmlp.report.weight_pictures.panels import Panel, filters_panel, next_to, stacked, to_figure, units_panel
from allmlp.report.weight_pictures.tiles import filter_tiles, unit_tiles

WIDTH = 600


def units_of(num_pairs: int, num_others: int) -> HiddenUnits:
    pictures, _ = planted(num_pairs, num_others)
    return HiddenUnits(pictures=pictures, pairs=pair_opposites(pictures))


def texts(panel: Panel) -> list[str]:
    return [each.text for each in panel.words]


def contains(panel: Panel, tile: np.ndarray) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(panel.pixels, tile.shape)[:, :, 0]
    corner = windows[:, :, 0, 0] == tile[0, 0]
    return any((windows[y, x] == tile).all() for y, x in zip(*np.nonzero(corner.all(axis=-1)), strict=True))


def test_all_units_are_shown_with_the_cosine_of_each_pair() -> None:
    units = units_of(3, 2)
    panel = units_panel(units, "Block 1", width=WIDTH, max_rows=2)
    assert all(contains(panel, tile) for tile in unit_tiles(units.pictures))
    cosines = [text for text in texts(panel) if text.startswith("−")]
    assert cosines == [f"{cosine:.2f}".replace("-", "−") for cosine in units.pairs.cosines]
    assert "3 pairs" in texts(panel) and "without a partner: 2 units" in texts(panel)
    first = f"{units.pairs.frequencies[units.pairs.pairs[0, 0]]:.3f}"
    assert first in texts(panel)
    assert panel.pixels.shape[1] == WIDTH


def test_a_unit_is_next_to_its_partner() -> None:
    units = units_of(1, 0)
    panel = units_panel(units, "Block 1", width=WIDTH, max_rows=2)
    left, right = unit_tiles(units.pictures[units.pairs.pairs[0]])
    assert contains(panel, np.concatenate([left, np.full((len(left), 3, 3), 255, np.uint8), right], axis=1))


def test_of_many_units_a_selection_is_shown_and_said() -> None:
    units = units_of(40, 60)
    panel = units_panel(units, "Block 1", width=WIDTH, max_rows=1)
    lines = texts(panel)
    (pairs,) = [line for line in lines if "pairs, of which" in line]
    (single,) = [line for line in lines if line.startswith("without a partner: 60 units, of which")]
    num_shown = int(pairs.split()[4])
    assert 1 < num_shown < 40 and "evenly spaced" in pairs and "evenly spaced" in single
    assert sum(line.startswith("−") for line in lines) == num_shown
    # The first and the last by frequency are among them.
    for index in (0, -1):
        assert all(contains(panel, tile) for tile in unit_tiles(units.pictures[units.pairs.pairs[index]]))
    everything = units_panel(units, "Block 1", width=WIDTH, max_rows=60)
    assert "40 pairs" in texts(everything) and "without a partner: 60 units" in texts(everything)


def test_a_block_without_pairs_and_one_without_singles_are_drawn() -> None:
    assert "0 pairs" in texts(units_panel(units_of(0, 5), "x", width=WIDTH, max_rows=2))
    assert "without a partner: 0 units" in texts(units_panel(units_of(5, 0), "x", width=WIDTH, max_rows=2))


def test_filters_are_sorted_by_frequency() -> None:
    generator = np.random.default_rng(0)
    pictures = generator.standard_normal((5, 3, 8, 8), dtype=np.float32)
    pictures[3] = np.array([1, 0, -1], np.float32)[:, None, None]  # of one colour
    filters = PatchFilters(pictures=pictures, frequencies=picture_frequencies(pictures))
    panel = filters_panel(filters, "Filters", width=WIDTH, max_rows=2)
    tiles = filter_tiles(pictures[filters.order])
    row = np.concatenate([np.pad(tile, ((0, 0), (0, 3), (0, 0)), constant_values=255) for tile in tiles], axis=1)
    assert filters.order[0] == 3
    assert contains(panel, row[:, :-3])
    assert "5 filters" in texts(panel) and "0.000" in texts(panel)


@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (3, 40), (90, 90), (300, 2)])
def test_odd_grids_are_drawn(grid: tuple[int, int]) -> None:
    pictures = np.random.default_rng(0).standard_normal((7, *grid), dtype=np.float32)
    units = HiddenUnits(pictures=pictures, pairs=pair_opposites(pictures))
    panel = units_panel(units, "Block 1", width=WIDTH, max_rows=9)
    assert all(contains(panel, tile) for tile in unit_tiles(pictures))


def test_panels_are_put_together_with_their_words() -> None:
    first, second = (
        filters_panel(each, name, width=WIDTH, max_rows=1) for each, name in ((FILTERS, "a"), (FILTERS, "b"))
    )
    below, aside = stacked(first, second), next_to(first, second, 40)
    height, width = first.pixels.shape[:2]
    assert below.pixels.shape == (2 * height, width, 3) and aside.pixels.shape == (height, 2 * width + 40, 3)
    for panel, (x, y) in ((below, (0, height)), (aside, (width + 40, 0))):
        moved = panel.words[len(first.words)]
        assert (moved.text, moved.x, moved.y) == ("b", second.words[0].x + x, second.words[0].y + y)
        np.testing.assert_array_equal(panel.pixels[y : y + height, x : x + width], second.pixels)


def test_a_pixel_of_the_panel_is_a_pixel_of_the_figure() -> None:
    panel = Panel(np.random.default_rng(0).integers(0, 256, (37, 91, 3), dtype=np.uint8))
    canvas = FigureCanvasAgg(to_figure(panel))
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3]
    np.testing.assert_array_equal(drawn[24:-24, 24:-24], panel.pixels)
    assert (drawn[:24] == 255).all()


FILTERS = PatchFilters(pictures=np.ones((2, 3, 4, 4), np.float32), frequencies=np.zeros(2))
