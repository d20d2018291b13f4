"""What the plots of studies share: a figure with panels, axes in percent, curves with their spread over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from allmlp.report import to_png

__all__ = ["COLOURS", "curve", "dots", "log_axis", "new_figure", "panels", "percent_axis", "same_range", "to_png"]

COLOURS = ("#2563c9", "#d9600a", "#1f8a54", "#8a4fc7", "#c22f52", "#7a6a1e", "#1b8a9c", "#5b6575")
_INK, _MUTED, _RULE = "#1b2230", "#5b6575", "#e3e6eb"


def new_figure(width: float = 9.2, height: float = 3.4) -> Figure:
    """Return an empty figure of this size in inches."""
    return Figure(figsize=(width, height), dpi=160, facecolor="#ffffff", layout="constrained")


def panels(figure: Figure | SubFigure, titles: Sequence[str]) -> list[Axes]:
    """Return axes in a figure, side by side, with these titles."""
    axes: list[Axes] = list(np.ravel(figure.subplots(1, len(titles), squeeze=False)))
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title, fontsize=10, color=_INK)
        panel.tick_params(labelsize=8, colors=_MUTED)
        panel.grid(visible=True, color=_RULE, linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(_RULE)
    return axes


def same_range(axes: Sequence[Axes]) -> None:
    """Let the vertical axes begin at 0 and end at the same value, so that panels can be compared."""
    top = max(panel.get_ylim()[1] for panel in axes)
    for panel in axes:
        panel.set_ylim(0, top)


def percent_axis(axes: Axes, label: str, *, x: str | None = None) -> None:
    """Label the vertical axis, whose values are shares, in percent, and the horizontal one."""
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_ylabel(label, fontsize=9, color=_MUTED)
    if x is not None:
        axes.set_xlabel(x, fontsize=9, color=_MUTED)


def log_axis(axes: Axes, name: Literal["x", "y"], label: str) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 of each power of ten, and label it."""
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(label, fontsize=9, color=_MUTED)


def curve(axes: Axes, x: Sequence[float], runs: Sequence[Sequence[float]], *, label: str, **style: Any) -> None:
    """Draw the mean over runs of the same length, and the range of the runs as a band."""
    values = np.array(runs, dtype=float)
    (line,) = axes.plot(x, values.mean(0), label=label, marker="o", markersize=3, linewidth=1.6, **style)
    if len(values) > 1:
        axes.fill_between(x, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)


def dots(
    axes: Axes, rows: Mapping[str, Sequence[float]], *, x: str, colours: Mapping[str, str], reference: str
) -> None:
    """Draw one row per name, from the top down: its values as dots and their mean as a line.

    `x` labels the horizontal axis, whose values are shares, in percent. A dashed line continues the mean of row `reference`.
    """
    heights = list(range(len(rows) - 1, -1, -1))
    for height, (name, values) in zip(heights, rows.items(), strict=True):
        colour = colours[name]
        axes.plot(values, [height] * len(values), "o", color=colour, markersize=5, alpha=0.55, markeredgewidth=0)
        axes.plot([float(np.mean(values))] * 2, [height - 0.28, height + 0.28], color=colour, linewidth=2)
    axes.axvline(float(np.mean(rows[reference])), color=_INK, linewidth=1, linestyle="--", zorder=1)
    axes.set_yticks(heights, list(rows))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.set_xlabel(x, fontsize=9, color=_MUTED)
