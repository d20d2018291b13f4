"""One page that holds everything: `report.html` opens anywhere, offline, and runs no script."""

import math
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from allmlp.io.atomic_write import write_bytes, write_text
from allmlp.report import sections
from allmlp.report.markup import card, count, duration, number, percent, png_uri, text
from allmlp.report.summary import RunSummary
from allmlp.runs.layout import RunLayout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from allmlp.report.plots import Theme

__all__ = ["write_report"]

CSS_PIXELS_PER_INCH = 96
SECTIONS = (
    ("training", "Training"),
    ("confusion", "Confusion"),
    ("classes", "Classes"),
    ("calibration", "Calibration"),
    ("mistakes", "Mistakes"),
    ("samples", "Samples"),
    ("model", "Model"),
    ("data", "Data"),
    ("environment", "Environment"),
    ("recipe", "Recipe"),
    ("next", "Next"),
)


def write_report(summary: RunSummary, directory: Path) -> list[Path]:
    """Write `plots/` (curves, confusion, reliability, samples) and `report.html` into `directory`.

    The page is self-contained: pictures and style are inside it, and nothing is loaded from elsewhere. A plot that has
    nothing to show (no evaluation, no training photos) is left out. Returns the paths that were written.

    Raises:
        AllmlpError: the disk is full or the folder is not writable.
    """
    from allmlp.report import plots

    written = []
    figures = {"curves": plots.curves_figure(summary, plots.LIGHT)} if summary.results else {}
    if summary.headline is not None:
        figures["confusion"] = plots.confusion_figure(summary.headline.confusion, summary.class_names, plots.LIGHT)
        figures["reliability"] = plots.reliability_figure(summary.headline.reliability, plots.LIGHT)
    if len(summary.training_sample):
        captions = summary.training_sample_captions
        figures["samples"] = plots.samples_figure(summary.training_sample, captions, plots.LIGHT)
    for name, figure in figures.items():
        written.append(write_bytes(RunLayout(directory).plots / f"{name}.png", plots.to_png(figure)))
    written.append(write_text(RunLayout(directory).report, _page(summary)))
    return written


def _page(summary: RunSummary) -> str:
    from allmlp.report import plots

    numbered = plots.goes_by_number(summary.class_names)
    content = "".join(
        (
            sections.headline(summary),
            _training(summary),
            _confusion(summary),
            sections.classes(summary, numbered=numbered),
            _calibration(summary),
            sections.mistakes(summary),
            sections.samples(summary),
            sections.facts(summary),
            sections.recipe(summary),
            sections.commands(summary),
        )
    )
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name in SECTIONS if f'id="{key}"' in content)
    style = resources.files("allmlp.report").joinpath("report.css").read_text(encoding="utf-8")
    # A second wall behind the escaping: no script runs and nothing is fetched, whatever a class is called.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    version = f"allmlp {summary.environment.get('allmlp', '')}".strip()
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(summary.name)} – allmlp report</title><style>{style}</style></head>\n"
        f'<body><nav aria-label="Sections"><ul>{links}</ul></nav><main>{content}</main>'
        f"<footer>Written by {text(version)}. The numbers behind this page are in <code>results.csv</code>, "
        "<code>metrics.json</code> and <code>recipe.json</code> of the same folder, its pictures in "
        "<code>plots/</code>.</footer></body></html>\n"
    )


def _training(summary: RunSummary) -> str:
    from allmlp.report import plots

    if not summary.results:
        return ""
    panels = "".join(
        _picture(partial(plots.panel_figure, name, summary), _described(name, summary)) for name in plots.PANELS
    )
    rates = [rate for row in summary.results if math.isfinite(rate := row.get("images_per_second", math.nan))]
    speed = f", {count(round(median(rates)))} photos/s (median)" if rates else ""
    last = summary.results[-1]
    epochs = "1 epoch" if last["epoch"] == 1 else f"{last['epoch']:g} epochs"
    note = (
        f"{epochs} in {duration(last.get('seconds', math.nan))}{speed}. The training loss is of augmented photos, with "
        f"label smoothing and mixing where the recipe asks for them, {_losses_compared(summary)}"
    )
    return card("Training", f'<div class="panels">{panels}</div>{_epochs(summary)}', identifier="training", note=note)


def _losses_compared(summary: RunSummary) -> str:
    """Return how the two losses stand to each other: that of validation is always the plain softmax cross-entropy."""
    other = []
    if summary.recipe.get("loss") == "sigmoid":
        other.append("a sigmoid cross-entropy, summed over the classes")
    if summary.recipe.get("class_weights") == "balanced":
        other.append("weighted by class")
    if not other:
        return "so it may lie above the validation loss."
    return f"and {', and '.join(other)}; the validation loss is the plain softmax one, so the two cannot be compared."


def _described(panel: str, summary: RunSummary) -> str:
    first, last = summary.results[0], summary.results[-1]
    keys = {
        "loss": ("train_loss", "validation_loss"),
        "accuracy": ("validation_top1",),
        "learning rate": ("learning_rate",),
    }
    changes = [
        f"{key.replace('_', ' ')} from {first.get(key, math.nan):.4g} to {last.get(key, math.nan):.4g}"
        for key in keys[panel]
    ]
    return (
        f"Curve of the {panel} over {last['epoch']:g} epochs: {', '.join(changes)}; all values are in the table below"
    )


def _epochs(summary: RunSummary) -> str:
    formats: dict[str, tuple[str, Callable[[float], str]]] = {
        "epoch": ("Epoch", lambda value: f"{value:g}"),
        "train_loss": ("Training loss", number),
        "validation_loss": ("Validation loss", number),
        "validation_top1": ("Top-1", percent),
        "validation_top5": ("Top-5", percent),
        "learning_rate": ("Learning rate", lambda value: f"{value:.2e}" if math.isfinite(value) else "–"),
        "images_per_second": ("Photos/s", lambda value: number(value, digits=0)),
        "seconds": ("Time", duration),
    }
    head = "".join(f'<th scope="col" class="amount">{title}</th>' for title, _ in formats.values())
    best = summary.best_row
    rows = []
    for row in summary.results:
        cells = "".join(
            f'<td class="amount">{show(row.get(key, math.nan))}{" ★" if key == "epoch" and row is best else ""}</td>'
            for key, (_, show) in formats.items()
        )
        rows.append(f"<tr>{cells}</tr>")
    star = " (★ is the best checkpoint)" if best else ""
    return (
        f'<details class="epochs"><summary>Every epoch in numbers{star}</summary><div class="scroll long"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _confusion(summary: RunSummary) -> str:
    from allmlp.report import plots

    metrics = summary.headline
    if metrics is None:
        return ""
    picture = _picture(
        partial(plots.confusion_figure, metrics.confusion, summary.class_names),
        f"Confusion matrix of {len(summary.class_names)} classes; its numbers are in the lists beside and below it",
    )
    note = (
        f"Rows are the truth, columns the prediction, on {count(metrics.num_examples)} {text(summary.headline_split)} "
        'photos. The shade is the share of the row: <span class="truth">right answers</span> on the diagonal, '
        '<span class="wrong">mistakes</span> beside it.'
    )
    lists = sections.pairs(metrics, summary.class_names)
    # A matrix of many classes needs the whole width for its labels.
    layout = "halves" if len(summary.class_names) <= 12 else "stacked"
    body = f'<div class="{layout}"><div class="matrix">{picture}</div><div>{lists}</div></div>'
    return card("What is taken for what", body, identifier="confusion", note=note)


def _calibration(summary: RunSummary) -> str:
    from allmlp.report import plots

    metrics = summary.headline
    if metrics is None:
        return ""
    filled = [one for one in metrics.reliability if one.num_examples]
    bins = ", ".join(
        f"{percent(one.confidence)} sure, {percent(one.accuracy)} right ({count(one.num_examples)})" for one in filled
    )
    picture = _picture(partial(plots.reliability_figure, metrics.reliability), f"Reliability diagram: {bins}")
    note = (
        f"Of the {text(summary.headline_split)} photos, by how sure the answer was: a bar that ends at its orange mark means "
        "what it says; a lower one was too sure. The distance, over all photos, is the expected calibration error: "
        f"<b>{percent(metrics.expected_calibration_error)}</b> ({len(metrics.reliability)} bins)."
    )
    if metrics.temperature != 1.0:
        note += (
            f" Logits are divided by the temperature {number(metrics.temperature)}, fitted on validation; as trained, the "
            f"error was {percent(metrics.expected_calibration_error_as_trained)} and the loss "
            f"{number(metrics.loss_as_trained)}."
        )
    return card(
        "How sure, and how often right", f'<div class="matrix">{picture}</div>', identifier="calibration", note=note
    )


def _picture(draw: Callable[["Theme"], "Figure"], alternative: str) -> str:
    """Inline a figure in both themes; the browser shows the reader's one, and the light one in print."""
    from allmlp.report import plots

    figures = [draw(theme) for theme in (plots.LIGHT, plots.DARK)]
    light, dark = (png_uri(plots.to_png(figure)) for figure in figures)
    width, height = (round(CSS_PIXELS_PER_INCH * inches) for inches in figures[0].get_size_inches())
    return (
        f'<picture><source media="screen and (prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" width="{width}" height="{height}" alt="{text(alternative)}"></picture>'
    )
