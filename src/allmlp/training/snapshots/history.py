"""The history of a run, saved with the weights so that a resumed run reports as if it had never stopped."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.config import from_dict, to_dict
from allmlp.metrics import Metrics

__all__ = ["TrainingHistory"]


@dataclasses.dataclass(kw_only=True)
class TrainingHistory:
    """Counts and metrics of a run up to the current step. JSON represents every field exactly.

    Attributes:
        seconds: training time so far, including validation.
        loss_sum, num_losses: over the steps since the last validation.
        validated_step: the number of steps before the last validation.
        best_epoch, best_step: the epoch and the number of steps of the best checkpoint so far; 0 before the first.
        best_top1, best_loss: its scores on the validation split.
        num_skipped: steps skipped because their loss or gradient was not finite.
        sample_digest: SHA-256 in hexadecimal, chained over the steps: the hash of the previous digest and the keys of the
            step's samples, in order. Two runs with the same digest have seen the same samples in the same order.
        revisions: of the number of steps, by a time budget; see `RunLength`.
        minutes_needed: what all planned epochs would have taken, if a time budget ended the run earlier; None if it did not.
        results: the rows of results.csv.
    """

    seconds: float = 0.0
    loss_sum: float = 0.0
    num_losses: int = 0
    validated_step: int = 0
    best_epoch: int = 0
    best_step: int = 0
    best_top1: float = -1.0
    best_loss: float = 0.0
    num_skipped: int = 0
    sample_digest: str = hashlib.sha256().hexdigest()
    revisions: tuple[tuple[int, int], ...] = ()
    minutes_needed: float | None = None
    results: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def add_step(self, loss: float, keys: NDArray[np.uint64]) -> None:
        """Add a step: its loss, which is not finite if the step was skipped, and the keys (B,) of its samples."""
        if math.isfinite(loss):
            self.loss_sum += loss
            self.num_losses += 1
        else:
            self.num_skipped += 1
        content = bytes.fromhex(self.sample_digest) + keys.astype("<u8").tobytes()
        self.sample_digest = hashlib.sha256(content).hexdigest()

    def is_better(self, metrics: Metrics | None, best_by: str, *, is_last: bool) -> bool:
        """Return whether weights with these scores on the validation split are better than the best so far.

        For `best_by` see `Recipe`. Without validation photos, `metrics` is None and the last weights are the best.
        """
        if metrics is None or best_by == "last":
            return is_last
        if best_by == "loss":
            return not self.best_epoch or metrics.loss < self.best_loss
        return (metrics.top1, -metrics.loss) > (self.best_top1, -self.best_loss)

    def row(
        self, metrics: Metrics | None, *, epoch: int, step: int, learning_rate: float, speed: float
    ) -> dict[str, float]:
        """Return the row of results.csv of a validation; without validation photos, `metrics` is None. Resets the loss."""
        return {
            "epoch": epoch,
            "step": step,
            "seconds": self.seconds,
            "learning_rate": learning_rate,
            "train_loss": self.mean_loss(),
            "validation_loss": metrics.loss if metrics else math.nan,
            "validation_top1": metrics.top1 if metrics else math.nan,
            "validation_top5": metrics.top5 if metrics else math.nan,
            "images_per_second": speed,
        }

    def mean_loss(self) -> float:
        """Return the mean loss since the last validation, NaN if all steps were skipped, and reset it."""
        mean = self.loss_sum / self.num_losses if self.num_losses else math.nan
        self.loss_sum, self.num_losses = 0.0, 0
        return mean

    def to_metadata(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        rows = [{name: None if math.isnan(value) else value for name, value in row.items()} for row in self.results]
        return {**to_dict(self), "results": rows}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], *, where: str) -> "TrainingHistory":
        """Return the history from the values that `to_metadata` returned.

        Raises:
            ConfigError: unknown fields, or values of the wrong type.
        """
        rows = [
            {str(name): math.nan if value is None else value for name, value in row.items()}
            for row in metadata["results"]
        ]
        fields = {name: value for name, value in metadata.items() if name != "results"}
        return dataclasses.replace(from_dict(cls, fields, where=where), results=rows)
