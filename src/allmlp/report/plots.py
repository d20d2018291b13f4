"""Figures of a run, drawn with Figure objects rather than pyplot, whose global state belongs to the user."""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from allmlp.metrics import ReliabilityBin
from allmlp.report.formatting import percent, show_controls
from allmlp.report.summary import ReportSummary

__all__ = [
    "PANELS",
    "comparison_figure",
    "confusion_figure",
    "has_numbered_classes",
    "learning_rates_plot",
    "panel_figure",
    "panels_of",
    "reliability_figure",
    "samples_figure",
    "to_png",
]

DPI = 200
MAX_ANNOTATED_CLASSES = 20
MAX_LABELLED_CLASSES = 40
MAX_LABEL_CHARACTERS = 20


# The colours of report.css, which inverts the pictures on a dark page but keeps their hues.
PAPER, INK, MUTED, RULE = "#ffffff", "#1b2230", "#5b6575", "#e3e6eb"
RIGHT, WRONG = "#2563c9", "#d9600a"
RUN_COLOURS = (RIGHT, WRONG, "#1f8a54", "#8a4fc7", "#c22f52", "#7a6a1e", "#1b8a9c", "#5b6575")


def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file."""
    file = io.BytesIO()
    # Not Figure.savefig, which draws a figure that has a layout engine twice.
    FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
    return file.getvalue()


def panel_figure(name: str, summary: ReportSummary) -> Figure:
    """Draw one of the PANELS by itself, so that a page can arrange them to fit its width."""
    width, height = 4.2, 3.0
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    # Margins in inches, for labels of up to seven characters: a layout engine would take half of the time.
    left, right, bottom, top = 0.62, 0.12, 0.46, 0.42
    PANELS[name](
        figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)),
        summary,
    )
    return figure


def _draw_losses(axes: Axes, summary: ReportSummary) -> None:
    _style(axes, "Loss (nats)")
    _plot(axes, summary.results, "train_loss", RIGHT, label="training")
    _plot(axes, summary.results, "validation_loss", WRONG, label="validation")
    _legend(axes)


def _draw_accuracy(axes: Axes, summary: ReportSummary) -> None:
    _style(axes, "Validation top-1")
    _plot(axes, summary.results, "validation_top1", WRONG, label="validation")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    best = summary.best_row
    if best is None:
        return
    epoch, accuracy = best["epoch"], best["validation_top1"]
    axes.plot([epoch], [accuracy], "o", color=INK, markersize=6, markeredgecolor=PAPER, label="best", clip_on=False)
    # Above the axes, where it cannot overlap a curve.
    note = f"●  best: {percent(accuracy)}, epoch {epoch:g}"
    axes.set_title(note, loc="right", fontsize=9, color=INK, pad=10)


def _draw_learning_rate(axes: Axes, summary: ReportSummary) -> None:
    _style(axes, "Learning rate")
    _plot(axes, summary.results, "learning_rate", MUTED, label="learning rate")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def panels_of(summary: ReportSummary) -> list[str]:
    """Return the names of the PANELS that a run has values for: without validation photos, there is no accuracy."""
    return [name for name in PANELS if name != "accuracy" or summary.was_validated]


PANELS: Mapping[str, Callable[[Axes, ReportSummary], None]] = {
    "loss": _draw_losses,
    "accuracy": _draw_accuracy,
    "learning rate": _draw_learning_rate,
}


def comparison_figure(
    key: str, title: str, runs: Mapping[str, Sequence[Mapping[str, float]]], *, is_percent: bool
) -> Figure:
    """Draw a column of results.csv of several runs, by their names, over each other."""
    figure = _figure(5.6, 3.4)
    axes = figure.subplots()
    _style(axes, title)
    for index, (name, rows) in enumerate(runs.items()):
        num_lines = len(axes.get_lines())
        _plot(axes, rows, key, RUN_COLOURS[index % len(RUN_COLOURS)], label=_label(name, index))
        if len(axes.get_lines()) > num_lines and index >= len(RUN_COLOURS):
            axes.get_lines()[-1].set_linestyle("--")
    if is_percent:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    if axes.get_lines():
        legend = axes.legend(frameon=False, fontsize=8, labelcolor=INK, handlelength=1.4)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def learning_rates_plot(points: Sequence[tuple[float, float]]) -> bytes:
    """Plot validation top-1 against the learning rate, for one or more points (rate, top-1) in any order; return a PNG file."""
    figure = _figure(4.2, 3.0)
    axes = figure.subplots()
    _style(axes, "Validation top-1")
    rates, accuracies = zip(*sorted(points), strict=True)
    axes.plot(rates, accuracies, "o-", color=RIGHT)
    best_rate, best = max(points, key=lambda point: point[1])
    axes.plot(best_rate, best, "o", color=INK, markersize=7, markeredgecolor=PAPER)
    axes.set_title(f"●  best: {percent(best)} at {best_rate:g}", loc="right", fontsize=9, color=INK, pad=10)
    # The margin keeps the ticks, in whole percent, distinct.
    axes.set(xscale="log", ylim=(min(accuracies) - 0.03, max(accuracies) + 0.03))
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.set_xlabel("learning rate", color=MUTED, fontsize=9)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    return to_png(figure)


def confusion_figure(confusion: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix (K, K), shaded by share of the true class, in one hue for correct answers and one for mistakes.

    Up to 20 classes, the cells show counts; up to 40 classes, the axes show class names, and above that class numbers.
    """
    num_classes = len(class_names)
    longest = max(len(_label(name, index)) for index, name in enumerate(class_names))
    side = float(np.clip(0.4 * num_classes + 0.09 * longest + 0.8, 3.4, 8.0))
    figure = _figure(side, side * 0.96)
    axes = figure.subplots()
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    # Classes are numbered from one, as in the table.
    extent = (0.5, num_classes + 0.5, num_classes + 0.5, 0.5)
    axes.imshow(_confusion_colours(shares), aspect="equal", interpolation="auto", extent=extent)
    _style(axes, "")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("prediction", color=MUTED, fontsize=10)
    axes.set_ylabel("truth", color=MUTED, fontsize=10)
    if num_classes <= MAX_LABELLED_CLASSES:
        _label_classes(axes, class_names)
    if num_classes <= MAX_ANNOTATED_CLASSES:
        _annotate_counts(axes, confusion, shares)
    return figure


def _confusion_colours(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    paper = np.array(to_rgb(PAPER))
    hues = np.where(np.eye(len(shares), dtype=bool)[..., None], to_rgb(RIGHT), to_rgb(WRONG))
    # The root lifts small shares: of 40 photos, 2 mistakes must be visible next to 30 correct answers.
    strength = (shares ** (0.5 if len(shares) <= MAX_LABELLED_CLASSES else 0.35))[..., None]
    faint = 0.05 * (np.array(to_rgb(INK)) - paper)  # so that the grid is visible between empty cells
    colours = np.where(strength > 0, paper + strength * (hues - paper), paper + faint)
    return np.asarray(colours, dtype=np.float64)  # (K, K, 3)


def _label_classes(axes: Axes, class_names: Sequence[str]) -> None:
    labels = [_label(name, index) for index, name in enumerate(class_names)]
    size = 10 if len(labels) <= 12 else 8 if len(labels) <= 24 else 6
    positions = np.arange(1, len(labels) + 1)
    # parse_math=False, because a class may be called "$x$".
    axes.set_xticks(positions, labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=size, parse_math=False)
    axes.set_yticks(positions, labels, fontsize=size, parse_math=False)
    axes.tick_params(length=0)
    # Minor grid lines draw thin gaps between the cells.
    edges = np.arange(len(labels) + 1) + 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(visible=True, which="minor", color=axes.get_facecolor(), linewidth=1.5 if len(labels) <= 20 else 0.6)
    axes.tick_params(which="minor", length=0)


def _annotate_counts(axes: Axes, confusion: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    size = 11 if len(confusion) <= 12 else 8
    colours = _confusion_colours(shares)
    for row, column in np.argwhere(confusion > 0):
        luminance = float(colours[row, column] @ (0.299, 0.587, 0.114))
        colour = "#10151d" if luminance > 0.55 else "#ffffff"
        axes.text(
            column + 1, row + 1, str(confusion[row, column]), ha="center", va="center", color=colour, fontsize=size
        )


def reliability_figure(bins: Sequence[ReliabilityBin]) -> Figure:
    """Draw a reliability diagram: the accuracy of predictions by their confidence, above their number.

    On the diagonal the model is calibrated; below it, overconfident.
    """
    figure = _figure(4.2, 4.4)
    accuracy, amounts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = [bin_ for bin_ in bins if bin_.num_examples]
    for axes, heights, colour in (
        (accuracy, [bin_.accuracy for bin_ in filled], RIGHT),
        (amounts, [bin_.num_examples for bin_ in filled], MUTED),
    ):
        _style(axes, "")
        widths = [0.94 * (bin_.high - bin_.low) for bin_ in filled]
        axes.bar([(bin_.low + bin_.high) / 2 for bin_ in filled], heights, widths, color=colour)
    accuracy.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle="--", label="perfect calibration")
    confidences = [bin_.confidence for bin_ in filled]
    accuracy.plot(confidences, confidences, "_", color=WRONG, markersize=11, markeredgewidth=2.5, label="confidence")
    accuracy.set(xlim=(0, 1), ylim=(0, 1))
    accuracy.set_ylabel("accuracy", color=MUTED, fontsize=9)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    amounts.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    amounts.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    amounts.set_xlabel("confidence", color=MUTED, fontsize=9)
    amounts.set_ylabel("photos", color=MUTED, fontsize=9)
    _legend(accuracy)
    return figure


def samples_figure(photos: NDArray[np.uint8], captions: Sequence[str]) -> Figure:
    """Draw images (N, H, W, 3) with their captions on a sheet, at most eight in a row."""
    num_columns = min(8, max(1, len(photos)))
    width, height = 1.25 * num_columns, 1.5 * -(-len(photos) // num_columns)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))  # a single axes in inches, because laying out 32 of them takes a second
    axes.set_axis_off()
    sides = 1.15 * np.array(photos.shape[2:0:-1]) / max(photos.shape[1:3])  # width and height of an image
    for index, (photo, caption) in enumerate(zip(photos, captions, strict=True)):
        centre, top = 1.25 * (index % num_columns + 0.5), 1.5 * (index // num_columns) + 0.32
        extent = (centre - sides[0] / 2, centre + sides[0] / 2, top + sides[1], top)
        smoothing = "nearest" if photo.shape[0] <= 32 else "auto"
        axes.imshow(photo, interpolation=smoothing, extent=extent, aspect="auto")
        lines = textwrap.wrap(show_controls(caption), width=18, max_lines=2, placeholder=" …")
        title = "\n".join(line if _is_drawable(line) else "" for line in lines)
        axes.text(centre, top - 0.04, title, fontsize=8, color=INK, ha="center", va="bottom", parse_math=False)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor=PAPER)


def _style(axes: Axes, title: str) -> None:
    axes.set_facecolor(PAPER)
    if title:
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=10)
        axes.set_xlabel("epoch", color=MUTED, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    axes.grid(visible=True, axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def _plot(axes: Axes, rows: Sequence[Mapping[str, float]], key: str, colour: str, *, label: str) -> None:
    points = np.array([(row["epoch"], row.get(key, np.nan)) for row in rows], dtype=np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return
    markers: dict[str, Any] = {"marker": "o", "markersize": 5} if len(points) <= 3 else {}
    axes.plot(points[:, 0], points[:, 1], color=colour, linewidth=1.8, solid_capstyle="round", label=label, **markers)


def _legend(axes: Axes) -> None:
    if axes.get_lines():
        position: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.02, 1.015), "borderaxespad": 0.2}
        axes.legend(ncols=2, frameon=False, fontsize=9, labelcolor=INK, handlelength=1.2, **position)


def has_numbered_classes(class_names: Sequence[str]) -> bool:
    """Return whether a confusion matrix shows some of these classes by number (from one) instead of by name."""
    return len(class_names) > MAX_LABELLED_CLASSES or not all(map(_is_drawable, map(show_controls, class_names)))


def _label(name: str, index: int) -> str:
    """Return a name that fits and that the figure's font can draw; other scripts are replaced by the class number."""
    name = show_controls(name)
    if not _is_drawable(name):
        return f"no. {index + 1}"
    if len(name) <= MAX_LABEL_CHARACTERS:
        return name
    # Shortened in the middle: "species number 012" and "species number 013" differ at the end.
    half = MAX_LABEL_CHARACTERS // 2
    return f"{name[:half]}…{name[-half + 1 :]}"


def _is_drawable(name: str) -> bool:
    return set(map(ord, name)) <= set(get_font(findfont(FontProperties())).get_charmap())
