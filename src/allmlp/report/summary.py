"""Input of a report: plain values that any trainer or evaluation can provide."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.metrics import Metrics

__all__ = ["Mistake", "RunSummary"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Mistake:
    """A misclassified photo."""

    sample_id: str
    photo: NDArray[np.uint8]  # (H, W, 3)
    truth: str
    prediction: str
    confidence: float  # of the prediction, in 0..1


@dataclass(frozen=True, kw_only=True, eq=False)
class RunSummary:
    """A finished run. Empty values get no section; only the name and the class names are required."""

    name: str
    """The run folder's name."""
    recipe: Mapping[str, Any]
    """The resolved recipe as nested JSON."""
    environment: Mapping[str, str]
    model: Mapping[str, str]
    """Rows to show, such as "parameters" -> "0.67 M"."""
    splits: tuple[tuple[str, int], ...]
    """The number of photos of each split, such as ("train", 900)."""
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was left out or decided when the data were opened, one line each."""
    results: tuple[Mapping[str, float], ...]
    """The rows of results.csv, one per epoch; a value that was not measured is missing or NaN."""
    evaluations: Mapping[str, Metrics]
    """The scores of the best checkpoint, by split."""
    mistakes: tuple[Mistake, ...]
    """On the `headline_split`, the most confident first."""
    training_sample: NDArray[np.uint8]
    """(N, H, W, 3) augmented training photos."""
    training_sample_captions: tuple[str, ...]
    next_commands: tuple[str, ...]
    best_epoch: int | None = None
    """The epoch of the best checkpoint; None if it is unknown."""

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
