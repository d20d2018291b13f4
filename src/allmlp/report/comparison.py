"""Comparison of runs: its content, and the page that shows it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from allmlp.io.atomic_write import write_text
from allmlp.metrics import accuracy_text, cross_validation_interval, wilson_interval
from allmlp.report.formatting import duration, number
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
        return accuracy_text(self.num_correct, self.num_photos, self.interval)

    def to_dict(self) -> dict[str, Any]:
        """Return the score and its interval as JSON values."""
        return {**asdict(self), "top1": self.top1, "interval": list(self.interval)}


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run in a comparison.

    Attributes:
        state: "finished", "stopped", "in training" or "diverged".
        num_epochs, planned_epochs: those it has trained, and all of its recipe.
        is_cut_short: whether its time budget shortened it or one of its folds.
        scores, losses: of its best checkpoint, by split.
        results: the rows of results.csv.
    """

    path: Path
    name: str
    state: str
    num_epochs: float
    planned_epochs: float
    is_cut_short: bool
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

    def has(self, key: str) -> bool:
        """Return whether a column of `results` has values: without a validation split, some have none."""
        return any(math.isfinite(row.get(key, math.nan)) for row in self.results)

    @property
    def progress(self) -> str:
        """The state, with the epochs of a run that has not trained all of them: "11 of 100 epochs, cut short"."""
        if self.state == "finished" and self.num_epochs == self.planned_epochs:
            return self.state
        how = "cut short" if self.is_cut_short else "ended early" if self.state == "finished" else self.state
        return f"{_epochs(self.num_epochs)} of {self.planned_epochs:g} epochs, {how}"

    def to_dict(self) -> dict[str, Any]:
        """Return what `RunComparison.figures` shows as JSON values."""
        return {
            "path": str(self.path),
            "name": self.name,
            "state": self.state,
            "num_epochs": self.num_epochs,
            "planned_epochs": self.planned_epochs,
            "is_cut_short": self.is_cut_short,
            "best_epoch": self.best_epoch,
            "num_parameters": self.num_parameters,
            "seconds": _finite(self.seconds),
            "training_top1": self.training_top1,
            "scores": {split: score.to_dict() for split, score in self.scores.items()},
            "losses": {split: _finite(loss) for split, loss in self.losses.items()},
        }


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

    def to_dict(self) -> dict[str, Any]:
        """Return the test as JSON values."""
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Several runs next to each other.

    Attributes:
        runs: in the given order.
        settings: the settings that differ, by dotted key, with one value per run; "–" if a run does not have it.
        tests: one per pair of runs that were scored on the same photos.
        notes: why a pair has no test, and what limits the comparison.
        run_notes: what the runs themselves note, such as photos that they share, or epochs that a time budget left out.
    """

    runs: tuple[ComparedRun, ...]
    settings: Mapping[str, tuple[str, ...]]
    tests: tuple[PairedTest, ...]
    notes: tuple[str, ...]
    run_notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON values; what was not measured is None."""
        return {
            "runs": [run.to_dict() for run in self.runs],
            "settings": {key: list(values) for key, values in self.settings.items()},
            "tests": [test.to_dict() for test in self.tests],
            "notes": list(self.notes),
            "run_notes": list(self.run_notes),
        }

    def figures(self) -> dict[str, tuple[str, ...]]:
        """Return the rows of final figures, with one value per run; rows without any value are left out."""
        splits = dict.fromkeys(split for run in self.runs for split in run.scores)
        rows = {
            "state": [run.progress for run in self.runs],
            **{
                f"{split} top-1": [str(run.scores[split]) if split in run.scores else "–" for run in self.runs]
                for split in splits
            },
            "training top-1": [_percent(run.training_top1) for run in self.runs],
            **{f"{split} loss": [number(run.losses.get(split, math.nan)) for run in self.runs] for split in splits},
            "best epoch": [f"{run.best_epoch or '–'} of {_epochs(run.num_epochs)}" for run in self.runs],
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
        names = [run.name for run in comparison.runs if run.has(key)]
        if names:  # a run without values is passed on, too, so that all panels have the same colours
            results = {run.name: run.results for run in comparison.runs}
            figure = comparison_figure(key, title, results, is_percent=is_percent)
            curves.append(draw_picture(figure, f"{title} over the epochs, one curve per run: {', '.join(names)}"))
    return write_text(path, render("comparison.html", comparison=comparison, curves=curves))


def _epochs(number: float) -> str:
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
