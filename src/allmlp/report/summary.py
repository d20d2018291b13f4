"""Input of a report: plain values that any trainer or evaluation can provide."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.explanations import ClassMap
from allmlp.metrics import Metrics

__all__ = ["Galleries", "ReportSummary", "ShownPhoto", "Stopped", "TrainingScore"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownPhoto:
    """A photo and its prediction."""

    sample_id: str
    photo: NDArray[np.uint8]  # (H, W, 3)
    truth: str
    prediction: str
    confidence: float  # of the prediction, in 0..1


@dataclass(frozen=True, kw_only=True, eq=False)
class Galleries:
    """Photos that show how the model fails and succeeds."""

    mistakes: tuple[ShownPhoto, ...] = ()
    """Wrong answers, the most confident first."""
    unsure: tuple[ShownPhoto, ...] = ()
    """Answers of any kind, the least confident first."""
    hits: tuple[ShownPhoto, ...] = ()
    """Correct answers, the most confident first."""


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The point that an unfinished run has reached."""

    epoch: float
    """The last epoch that ended; 0 if none did."""
    num_epochs: float
    """Of the whole run."""
    how: str
    """What ended it, such as "was stopped" or "is still in training"."""
    resume: str
    """The command that continues it; "" if it cannot be continued."""


@dataclass(frozen=True, kw_only=True)
class TrainingScore:
    """The accuracy of the best checkpoint on training photos, without augmentation."""

    top1: float
    num_photos: int
    """How many of them were scored."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportSummary:
    """A run, finished or not, or an evaluation. Empty values get no section; the name and the class names are required."""

    name: str
    """The name of the run folder or of the model."""
    kind: str = "a training run"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """The resolved recipe as nested JSON."""
    environment: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    """Rows to show, such as "parameters" -> "0.67 M"."""
    source: str = ""
    """Where the photos are: an absolute path, or the name of a public data set."""
    data_options: tuple[str, ...] = ()
    """The words with which a command reads the photos as the run did, after `source`."""
    directory: Path = Path()
    """The run folder."""
    splits: tuple[tuple[str, int], ...] = ()
    """The number of photos of each split, such as ("train", 900)."""
    class_names: tuple[str, ...]
    class_sizes: tuple[int, ...] = ()
    """The number of training photos of each class; empty if it is unknown."""
    notes: tuple[str, ...] = ()
    """What was left out or decided when the data were opened, one line each."""
    results: tuple[Mapping[str, float], ...] = ()
    """The rows of results.csv, one per epoch; a value that was not measured is missing or NaN."""
    evaluations: Mapping[str, Metrics] = field(default_factory=dict)
    """The scores of the best checkpoint, by split."""
    training_score: TrainingScore | None = None
    galleries: Galleries = field(default_factory=Galleries)
    """Photos of the `headline_split`."""
    training_sample: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 1, 1, 3), np.uint8))
    """(N, H, W, 3) augmented training photos."""
    training_sample_captions: tuple[str, ...] = ()
    class_maps: tuple[ClassMap, ...] = ()
    """What the patches of each class's photos contribute to its logit on average."""
    next_commands: tuple[str, ...] = ()
    best_epoch: int | None = None
    """The epoch of the best checkpoint; None if it is unknown."""
    stopped: Stopped | None = None
    """None for a finished run, and for an evaluation."""

    @property
    def is_run(self) -> bool:
        """Whether this is a training run: it has a recipe."""
        return bool(self.recipe)

    @property
    def was_validated(self) -> bool:
        """Whether validation photos were scored during training."""
        return any(math.isfinite(row.get("validation_top1", math.nan)) for row in self.results)

    @property
    def headline_split(self) -> str | None:
        """The split of the headline, the confusion matrix and the mistakes: test, else validation, else any."""
        return next((name for name in ("test", "validation", *self.evaluations) if name in self.evaluations), None)

    @property
    def headline(self) -> Metrics | None:
        """The scores on the `headline_split`."""
        return None if self.headline_split is None else self.evaluations[self.headline_split]

    @property
    def best_row(self) -> Mapping[str, float] | None:
        """The row of `results` for `best_epoch`, or None."""
        return next((row for row in self.results if row["epoch"] == self.best_epoch), None)
