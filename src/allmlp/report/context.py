"""Content of a run's page: its numbers, rows and pictures. The text around them is in templates/."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from allmlp.io.display import counted
from allmlp.metrics import ROUGH_INTERVAL, Metrics
from allmlp.report import plots
from allmlp.report.advice import Advice, advice
from allmlp.report.facts import flat_settings
from allmlp.report.formatting import count, duration, number, percent
from allmlp.report.heat_maps.class_maps import ShownClassMaps, show_class_maps
from allmlp.report.pictures import Picture, Thumbnail, draw_picture, make_thumbnail
from allmlp.report.scores import EvaluationSection, evaluation
from allmlp.report.summary import ReportSummary

__all__ = ["PageContext", "page_context"]

MAX_SAMPLES = 40
BEST_BY = {"top1": "highest validation top-1", "loss": "lowest validation loss", "last": "the last weights"}
EPOCH_COLUMNS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "epoch": ("Epoch", lambda value: f"{value:g}"),
    "train_loss": ("Training loss", number),
    "validation_loss": ("Validation loss", number),
    "validation_top1": ("Top-1", percent),
    "validation_top5": ("Top-5", percent),
    "learning_rate": ("Learning rate", lambda value: f"{value:.2e}" if math.isfinite(value) else "–"),
    "images_per_second": ("Photos/s", lambda value: number(value, digits=0)),
    "seconds": ("Time", duration),
}
CURVES = {
    "loss": ("train_loss", "validation_loss"),
    "accuracy": ("validation_top1",),
    "learning rate": ("learning_rate",),
}


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """A row of the table of epochs."""

    cells: tuple[str, ...]
    is_best: bool


@dataclass(frozen=True, kw_only=True)
class Training:
    """The epochs of the run."""

    num_epochs: float
    seconds: float
    photos_per_second: float | None
    """The median over the epochs; None if it was not measured."""
    has_sigmoid_loss: bool
    """Whether the training loss is the sigmoid cross-entropy; validation always uses the softmax cross-entropy."""
    is_weighted: bool
    """Whether the training loss weights the classes."""
    panels: tuple[Picture, ...]
    columns: tuple[str, ...]
    rows: tuple[EpochRow, ...]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of the recipe and its dotted key."""

    key: str
    value: str
    starts_group: bool
    """Whether its key belongs to a different group from the previous key."""


@dataclass(frozen=True, kw_only=True)
class PageContext:
    """Everything that a page shows; a part that is None or empty gets no section."""

    summary: ReportSummary
    tiles: tuple[tuple[str, str], ...]
    is_numbered: bool
    """Whether the confusion matrix shows some classes by number."""
    evaluation: EvaluationSection | None
    advice: tuple[Advice, ...]
    training: Training | None
    was_validated: bool
    best_by: str
    """By which rule the best checkpoint was chosen, in words."""
    fitted_on: str
    """The split on which the temperature was fitted."""
    class_maps: ShownClassMaps | None
    samples: tuple[tuple[Thumbnail, str], ...]
    """Augmented training photos with their captions."""
    settings: tuple[Setting, ...]

    @property
    def sections(self) -> tuple[tuple[str, str], ...]:
        """The identifiers and titles of the page's sections, in order."""
        evaluated = self.evaluation is not None
        sections = (
            ("training", "Training", self.training is not None),
            ("confusion", "Confusion", evaluated),
            ("classes", "Classes", evaluated),
            ("calibration", "Calibration", self.evaluation is not None and self.evaluation.reliability is not None),
            ("mistakes", "Mistakes", evaluated),
            ("unsure", "Least sure", self.evaluation is not None and bool(self.evaluation.unsure)),
            ("hits", "Surest hits", self.evaluation is not None and bool(self.evaluation.hits)),
            ("maps", "Recognised by", self.class_maps is not None),
            ("better", "Getting better", bool(self.advice)),
            ("samples", "Samples", bool(self.samples)),
            ("model", "Model", bool(self.summary.model)),
            ("data", "Data", bool(self.summary.splits)),
            ("environment", "Environment", bool(self.summary.environment)),
            ("recipe", "Recipe", bool(self.settings)),
            ("next", "Next", bool(self.summary.next_commands)),
        )
        return tuple((identifier, title) for identifier, title, is_shown in sections if is_shown)


def page_context(summary: ReportSummary) -> PageContext:
    """Compute the content of a run's page."""
    samples = zip(summary.training_sample, summary.training_sample_captions, strict=True)
    return PageContext(
        summary=summary,
        tiles=_tiles(summary),
        is_numbered=plots.has_numbered_classes(summary.class_names),
        evaluation=evaluation(summary),
        advice=advice(summary),
        training=_training(summary) if summary.results else None,
        was_validated=summary.was_validated,
        best_by=BEST_BY[summary.recipe.get("best_by", "top1")],
        fitted_on="cross-validation" if "cross-validation" in summary.evaluations else "validation",
        class_maps=show_class_maps(summary.class_maps, len(summary.class_names)),
        samples=tuple((make_thumbnail(image), caption) for image, caption in list(samples)[:MAX_SAMPLES]),
        settings=_settings(summary.recipe),
    )


def _tiles(summary: ReportSummary) -> tuple[tuple[str, str], ...]:
    tiles: list[tuple[str, str]] = []
    metrics = summary.headline
    if metrics is not None:
        tiles.append(("Balanced accuracy", percent(metrics.balanced_accuracy)))
        if metrics.has_top5:
            tiles.append(("Top-5", percent(metrics.top5)))
        tiles.append(("Loss (nats)", number(metrics.loss)))
        if metrics.has_calibration:
            title = "Calibration error" if metrics.has_fitted_temperature else "Calibration error, not fitted"
            tiles.append((title, percent(metrics.expected_calibration_error)))
    others = [name for name in ("validation", "cross-validation") if name in summary.evaluations]
    if others and summary.headline_split not in others:
        tiles.append((f"{others[0].capitalize()} top-1", _top1(summary.evaluations[others[0]])))
    else:
        tiles.append(("Classes", count(len(summary.class_names))))
    if summary.training_score is not None:
        tiles.append(("Training top-1", percent(summary.training_score.top1)))
    num_training = dict(summary.splits).get("train")
    if num_training is not None:
        tiles.append(("Training photos", count(num_training)))
    if summary.results:
        title = "Training time, without folds" if "cross-validation" in summary.evaluations else "Training time"
        tiles.append((title, duration(summary.results[-1].get("seconds", math.nan))))
    return tuple(tiles)


def _top1(metrics: Metrics) -> str:
    """Return an accuracy for a tile; its interval while that is wide."""
    low, high = metrics.top1_interval
    is_rough = high - low > ROUGH_INTERVAL
    return f"{100 * low:.0f}–{100 * high:.0f}\u00a0%" if is_rough else percent(metrics.top1)


def _training(summary: ReportSummary) -> Training:
    speeds = [speed for row in summary.results if math.isfinite(speed := row.get("images_per_second", math.nan))]
    last = summary.results[-1]
    is_top5_shown = len(summary.class_names) > 5
    columns = {key: column for key, column in EPOCH_COLUMNS.items() if is_top5_shown or key != "validation_top5"}
    return Training(
        num_epochs=last["epoch"],
        seconds=last.get("seconds", math.nan),
        photos_per_second=median(speeds) if speeds else None,
        has_sigmoid_loss=summary.recipe.get("loss") == "sigmoid",
        is_weighted=summary.recipe.get("class_weights") == "balanced",
        panels=tuple(
            draw_picture(plots.panel_figure(panel, summary), _describe_curves(panel, summary))
            for panel in plots.panels_of(summary)
        ),
        columns=tuple(title for title, _ in columns.values()),
        rows=tuple(
            EpochRow(
                cells=tuple(show(row.get(key, math.nan)) for key, (_, show) in columns.items()),
                is_best=row is summary.best_row,
            )
            for row in summary.results
        ),
    )


def _describe_curves(panel: str, summary: ReportSummary) -> str:
    first, last = summary.results[0], summary.results[-1]
    changes = [
        f"{key.replace('_', ' ')} from {first.get(key, math.nan):.4g} to {last.get(key, math.nan):.4g}"
        for key in CURVES[panel]
    ]
    return f"Curve of the {panel} over {counted(last['epoch'], 'epoch')}: {', '.join(changes)}; the table below has all values"


def _settings(recipe: Mapping[str, Any]) -> tuple[Setting, ...]:
    rows: list[Setting] = []
    previous = ""
    for key, value in flat_settings(recipe).items():
        group = key.rpartition(".")[0]
        rows.append(Setting(key=key, value=value, starts_group=group != previous and bool(rows)))
        previous = group
    return tuple(rows)
