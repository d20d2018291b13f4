"""Panels: pixels and the words on them, composed to a figure. All positions and sizes are in pixels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from allmlp.explanations import HiddenUnits, PatchFilters
from allmlp.io.display import counted
from allmlp.report import plots
from allmlp.report.weight_pictures.tiles import colour_bar, filter_tiles, unit_tiles

__all__ = ["Panel", "filters_panel", "heading", "legend", "next_to", "stacked", "to_figure", "units_panel"]

_DPI = 100
_LINE = 17  # between the tops of two lines of text
_SMALL, _NORMAL, _LARGE = 8.0, 8.5, 11.0  # sizes of fonts, in points
_LEFT = 40  # for the frequency of each row
_GAP = 3  # within a pair, and between filters
_BETWEEN = 10  # between pairs, and between units without a partner
_ABOVE = 18  # a title
_MARGIN = 24
_BAR = (120, 12)


class Words(NamedTuple):
    """A line of text from its left or right end, or its centre, and its top."""

    text: str
    x: float
    y: float
    size: float = _NORMAL
    colour: str = plots.MUTED
    align: str = "left"
    is_bold: bool = False


class Panel(NamedTuple):
    """Pixels (height, width, 3) and the words on them."""

    pixels: NDArray[np.uint8]
    words: tuple[Words, ...] = ()


def units_panel(units: HiddenUnits, title: str, *, width: int, max_rows: int) -> Panel:
    """Draw the hidden units of a block: pairs from low frequency to high, and then the units without a partner.

    If there are more than fit in `max_rows` rows of pairs, or in half as many of units without a partner, those that are drawn
    are evenly spaced.
    """
    found, pictures = units.pairs, units.pictures
    height, tile_width = unit_tiles(pictures[:1]).shape[1:3]
    shown = _evenly(len(found.pairs), max_rows * _per_row(2 * tile_width + _GAP, _BETWEEN, width))
    single = found.unpaired[_evenly(len(found.unpaired), (max_rows + 1) // 2 * _per_row(tile_width, _BETWEEN, width))]
    pairs = unit_tiles(pictures[found.pairs[shown].ravel()]).reshape(-1, 2, height, tile_width, 3)
    white = np.full((len(pairs), height, _GAP, 3), 255, np.uint8)
    joined = np.concatenate([pairs[:, 0], white, pairs[:, 1]], axis=2)  # (m, height, 2 tile_width + _GAP, 3)
    cosines = [_signed(cosine) for cosine in found.cosines[shown]]
    lines = (
        _number("", "pair", len(shown), len(found.pairs)),
        _number("without a partner: ", "unit", len(single), len(found.unpaired)),
    )
    return stacked(
        _title(title, _unit_facts(units), width),
        _line(lines[0], width),
        _grid(joined, found.frequencies[found.pairs[shown, 0]], width, gap=_BETWEEN, captions=cosines),
        _line(lines[1], width),
        _grid(unit_tiles(pictures[single]), found.frequencies[single], width, gap=_BETWEEN),
    )


def filters_panel(filters: PatchFilters, title: str, *, width: int, max_rows: int) -> Panel:
    """Draw the patch filters from low frequency to high, evenly spaced if there are more than fit in `max_rows` rows."""
    tile_width = filter_tiles(filters.pictures[:1]).shape[2]
    total = len(filters.pictures)
    shown = filters.order[_evenly(total, max_rows * _per_row(tile_width, _GAP, width))]
    facts = f"median of {total:,} filters: frequency {np.median(filters.frequencies):.3f} cycles per pixel"
    return stacked(
        _title(title, facts, width),
        _line(_number("", "filter", len(shown), total), width),
        _grid(filter_tiles(filters.pictures[shown]), filters.frequencies[shown], width, gap=_GAP),
    )


def heading(title: str, lines: Sequence[str], width: int) -> Panel:
    """Return a title with lines of explanation below it."""
    words = [Words(title, 0, 0, _LARGE, plots.INK, is_bold=True)]
    words += [Words(line, 0, 26 + _LINE * number) for number, line in enumerate(lines)]
    return Panel(_blank(26 + _LINE * len(lines), width), tuple(words))


def legend(width: int) -> Panel:
    """Return the meaning of the colours."""
    bar_width, bar_height = _BAR
    pixels = _blank(_ABOVE + _LINE + 6, width)
    pixels[_ABOVE + 2 : _ABOVE + 2 + bar_height, :bar_width] = colour_bar(bar_width, bar_height)
    text = (
        "Units: blue is negative, white 0, red positive. Filters: their own colours, grey is 0. "
        "Each picture has its own scale, up to its largest absolute weight."
    )
    return Panel(pixels, (Words(text, bar_width + 10, _ABOVE + 1, _SMALL),))


def stacked(*panels: Panel) -> Panel:
    """Return panels below each other, on the left."""
    width = max(panel.pixels.shape[1] for panel in panels)
    pixels: list[NDArray[np.uint8]] = []
    words: list[Words] = []
    top = 0
    for panel in panels:
        height, own_width = panel.pixels.shape[:2]
        pixels.append(np.pad(panel.pixels, ((0, 0), (0, width - own_width), (0, 0)), constant_values=255))
        words += [each._replace(y=each.y + top) for each in panel.words]
        top += height
    return Panel(np.concatenate(pixels), tuple(words))


def next_to(left: Panel, right: Panel, gap: int) -> Panel:
    """Return two panels side by side, from the same top."""
    height = max(left.pixels.shape[0], right.pixels.shape[0])
    start = left.pixels.shape[1] + gap
    pixels = _blank(height, start + right.pixels.shape[1])
    pixels[: left.pixels.shape[0], : left.pixels.shape[1]] = left.pixels
    pixels[: right.pixels.shape[0], start:] = right.pixels
    return Panel(pixels, (*left.words, *(each._replace(x=each.x + start) for each in right.words)))


def to_figure(panel: Panel) -> Figure:
    """Return a figure in which one pixel of the panel is one pixel."""
    pixels = np.pad(panel.pixels, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), constant_values=255)
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=plots.PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(pixels, interpolation="nearest", extent=(0, width, height, 0), aspect="auto")
    for each in panel.words:
        axes.text(
            each.x + _MARGIN,
            each.y + _MARGIN,
            each.text,
            fontsize=each.size,
            color=each.colour,
            ha=each.align,
            va="top",
            fontweight="bold" if each.is_bold else "normal",
            parse_math=False,
        )
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def _unit_facts(units: HiddenUnits) -> str:
    facts = units.summary()
    return (
        f"medians of {facts['num_units']:,} units: frequency {facts['median_frequency']:.3f} cycles per patch, "
        f"cosine to the closest opposite {_signed(facts['median_opposite_cosine'])}"
    )


def _title(title: str, facts: str, width: int) -> Panel:
    words = (Words(title, 0, 0, _LARGE, plots.INK, is_bold=True), Words(facts, 0, 22))
    return Panel(_blank(_ABOVE + 22 + _LINE, width), tuple(each._replace(y=each.y + _ABOVE) for each in words))


def _line(text: str, width: int) -> Panel:
    return Panel(_blank(_LINE + 6, width), (Words(text, 0, 4, _SMALL),))


def _number(before: str, noun: str, num_shown: int, total: int) -> str:
    shown = "" if num_shown == total else f", of which {num_shown:,} are shown, evenly spaced"
    return f"{before}{counted(total, noun)}{shown}"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _grid(
    tiles: NDArray[np.uint8],
    frequencies: NDArray[np.float64],
    width: int,
    *,
    gap: int,
    captions: Sequence[str] = (),
) -> Panel:
    """Arrange tiles in rows: in front of each row the frequency of its first tile, below each tile its caption, if any."""
    number, height, tile_width = tiles.shape[:3]
    per_row = _per_row(tile_width, gap, width)
    row_height = height + (_LINE + 2 if captions else gap)
    pixels = _blank(-(-number // per_row) * row_height, max(width, _LEFT + per_row * (tile_width + gap) - gap))
    words = []
    for index, tile in enumerate(tiles):
        row, column = divmod(index, per_row)
        x, y = _LEFT + column * (tile_width + gap), row * row_height
        pixels[y : y + height, x : x + tile_width] = tile
        if column == 0:
            words.append(Words(f"{frequencies[index]:.3f}", _LEFT - 6, y + height / 2 - 6, _SMALL, align="right"))
        if captions:
            words.append(Words(captions[index], x + tile_width / 2, y + height + 2, _SMALL, align="center"))
    return Panel(pixels, tuple(words))


def _per_row(tile_width: int, gap: int, width: int) -> int:
    return max(1, (width - _LEFT + gap) // (tile_width + gap))


def _evenly(number: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` indices, evenly spaced, with the first and the last."""
    if number <= most:
        return np.arange(number)
    return np.unique(np.rint(np.linspace(0, number - 1, most)).astype(np.int64))


def _blank(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 255, np.uint8)
