"""Content of a report, as plain values that any trainer or evaluation can fill in."""

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
    confidence: float  # of the prediction, 0..1


@dataclass(frozen=True, kw_only=True, eq=False)
class RunSummary:
    """A finished run. What is empty gets no section; only the name and the class names are required."""

    name: str
    """The run folder's name."""
    recipe: Mapping[str, Any]
    """The resolved recipe as nested JSON."""
    environment: Mapping[str, str]
    model: Mapping[str, str]
    """Rows to show, such as "parameters" -> "0.67 M"."""
    splits: tuple[tuple[str, int], ...]
    """Numbers of photos, such as ("train", 900)."""
    class_names: tuple[str, ...]
    results: tuple[Mapping[str, float], ...]
    """The rows of results.csv, one per epoch; a value that was not measured is missing or NaN."""
    evaluations: Mapping[str, Metrics]
    """By split, of the best checkpoint."""
    mistakes: tuple[Mistake, ...]
    """Of the `headline_split`, the most confident first."""
    training_sample: NDArray[np.uint8]
    """(N, H, W, 3) augmented training photos."""
    training_sample_captions: tuple[str, ...]
    next_commands: tuple[str, ...]
    best_epoch: int | None = None
    """The epoch of the best checkpoint; None marks none."""

    @property
    def headline_split(self) -> str | None:
        """The split of the headline, the matrix and the mistakes: test, else validation, else any."""
        return next((name for name in ("test", "validation", *self.evaluations) if name in self.evaluations), None)

    @property
    def headline(self) -> Metrics | None:
        """The scores on the `headline_split`."""
        return None if self.headline_split is None else self.evaluations[self.headline_split]

    @property
    def best_row(self) -> Mapping[str, float] | None:
        """The row of `results` of `best_epoch`; None when there is none."""
        return next((row for row in self.results if row["epoch"] == self.best_epoch), None)
