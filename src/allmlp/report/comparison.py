"""Comparison of runs: its content, and the page that shows it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allmlp.io.atomic_write import write_text
from allmlp.metrics import cross_validation_interval, wilson_interval
from allmlp.report.formatting import duration, number, percent
from allmlp.report.pictures import Picture, draw_picture
from allmlp.report.plots import comparison_figure
from allmlp.report.rendering import render

__all__ = ["ComparedRun", "PairedTest", "RunComparison", "Score", "write_comparison"]

CURVES = {
    "validation_top1": ("Validation top-1", True),
    "validation_loss": ("Validation loss (nats)", False),
    "train_loss": ("Training loss (nats)", False),
}


@dataclass(frozen=True, kw_only=True)
class Score:
    """The top-1 of a run on a split; `num_folds` is K for the scores of cross-validation, else 0."""

    num_correct: int
    num_photos: int
    num_folds: int = 0

    @property
    def top1(self) -> float:
        return self.num_correct / self.num_photos

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, as `Metrics.top1_interval`."""
        if self.num_folds:
            return cross_validation_interval(self.num_correct, self.num_photos, self.num_folds)
        return wilson_interval(self.num_correct, self.num_photos)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.top1:.1f} % ({self.num_correct:,} of {self.num_photos:,}; {100 * low:.0f} to {100 * high:.0f} %)"


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run in a comparison; `scores` and `losses` are by split, of its best checkpoint."""

    path: Path
    name: str
    is_finished: bool
    num_epochs: float
    best_epoch: int | None
    num_parameters: int
    training_top1: float | None
    scores: Mapping[str, Score]
    losses: Mapping[str, float]
    results: tuple[Mapping[str, float], ...]

    @property
    def seconds(self) -> float:
        """The training time; NaN before the first validation."""
        return self.results[-1].get("seconds", math.nan) if self.results else math.nan


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """McNemar's exact test of two runs on the photos that both were scored on, known by their content."""

    first: str
    second: str
    split: str
    num_photos: int
    num_only_first: int
    """How many photos only the first run classified correctly."""
    num_only_second: int
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether chance alone would rarely (in less than 5 % of cases) make such a difference."""
        return self.p_value < 0.05

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if not self.is_significant:
            return "no clear difference"
        return f"{self.first if self.num_only_first > self.num_only_second else self.second} is better"


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Several runs next to each other.

    Attributes:
        runs: in the given order.
        settings: the settings that differ, by dotted key, with one value per run; "–" if a run does not have it.
        tests: one per pair of runs that were scored on the same photos.
        notes: why a pair has no test, and what limits the comparison.
    """

    runs: tuple[ComparedRun, ...]
    settings: Mapping[str, tuple[str, ...]]
    tests: tuple[PairedTest, ...]
    notes: tuple[str, ...]

    def figures(self) -> dict[str, tuple[str, ...]]:
        """Return the rows of final figures, with one value per run; rows without any value are left out."""
        splits = dict.fromkeys(split for run in self.runs for split in run.scores)
        rows = {
            "state": [
                "finished" if run.is_finished else f"stopped, {run.results[-1]['epoch'] if run.results else 0:g} epochs"
                for run in self.runs
            ],
            **{
                f"{split} top-1": [str(run.scores[split]) if split in run.scores else "–" for run in self.runs]
                for split in splits
            },
            "training top-1": [_percent(run.training_top1) for run in self.runs],
            **{f"{split} loss": [number(run.losses.get(split, math.nan)) for run in self.runs] for split in splits},
            "best epoch": [f"{run.best_epoch or '–'} of {run.num_epochs:g}" for run in self.runs],
            f"training time{', without folds' * ('cross-validation' in splits)}": [
                duration(run.seconds) for run in self.runs
            ],
            "parameters": [f"{run.num_parameters:,}" for run in self.runs],
        }
        return {
            name: tuple(value.replace("\u00a0", " ") for value in values)
            for name, values in rows.items()
            if any(value != "–" for value in values)
        }


def write_comparison(comparison: RunComparison, path: Path) -> Path:
    """Write the page of a comparison to `path` and return it.

    Raises:
        AllmlpError: the disk is full, or the folder is not writable.
    """
    curves: list[Picture] = []
    for key, (title, is_percent) in CURVES.items():
        results = {run.name: run.results for run in comparison.runs if run.results}
        if results:
            figure = comparison_figure(key, title, results, is_percent=is_percent)
            curves.append(draw_picture(figure, f"{title} over the epochs, one curve per run: {', '.join(results)}"))
    return write_text(path, render("comparison.html", comparison=comparison, curves=curves))


def _percent(value: float | None) -> str:
    return "–" if value is None else percent(value)
