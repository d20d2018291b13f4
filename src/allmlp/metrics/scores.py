"""The scores of a classifier: as values, as JSON, and as people are shown them.

K classes, n images in total (without padding).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.io.display import counted, html_table
from allmlp.metrics.calibration import ReliabilityBin
from allmlp.metrics.intervals import accuracy_text, cross_validation_interval, wilson_interval

__all__ = ["MIN_PHOTOS_FOR_CALIBRATION", "ClassMetrics", "Metrics", "confusion_matrix"]

MIN_PHOTOS_FOR_CALIBRATION = 100
"""With fewer photos, most of the 15 bins hold a handful, and the calibration error is mostly noise."""


@dataclass(frozen=True)
class ClassMetrics:
    """The scores of one class.

    `recall` is the fraction of its photos that were predicted as it, `precision` the fraction of its predictions that are
    correct; 0.0 if there are no such photos or predictions.
    """

    name: str
    num_examples: int
    recall: float
    precision: float


@dataclass(frozen=True, eq=False, repr=False)
class Metrics:
    """The scores of a classifier; all rates are fractions in 0..1."""

    num_examples: int
    """The photos that count: all but padding and photos without a label."""
    top1: float
    top5: float
    """How often the label is among the five most probable classes; 1.0 if there are at most five classes."""
    balanced_accuracy: float
    """The mean recall of the classes that have photos."""
    loss: float
    """The mean softmax cross-entropy in nats; the target of a photo with several labels is spread evenly over them."""
    expected_calibration_error: float
    """The mean absolute difference of confidence and accuracy over 15 bins of equal width, weighted by their photos."""
    temperature: float
    """The divisor of the logits for `loss`, `expected_calibration_error`, `reliability` and `confidences`."""
    loss_as_trained: float
    """The loss at temperature 1."""
    expected_calibration_error_as_trained: float
    """The expected calibration error at temperature 1."""
    reliability: tuple[ReliabilityBin, ...]
    per_class: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]
    """(K, K): rows are true classes, columns predictions. If a photo has several labels, its true class is the prediction if
    that is one of them, else the first label. The sum is `num_examples`, and the diagonal's share of it is `top1`."""
    predictions: NDArray[np.int64]
    """(n,) in the order of the batches, including photos without a label."""
    confidences: NDArray[np.float32]
    """(n,), the softmax probability of the prediction."""
    truths: NDArray[np.int64]
    """(n,), the true class as in `confusion`; -1 for a photo without a label."""
    num_folds: int = 0
    """K if each photo was predicted by the model of one of K folds; 0 if one model predicted all."""

    def __repr__(self) -> str:
        return f"Metrics({counted(self.num_examples, 'photo')}: top-1 {self.top1_text})"

    def _repr_html_(self) -> str:
        """Return the scores as a table, for notebooks."""
        return html_table(("score", counted(self.num_examples, "photo")), self.rows())

    def rows(self) -> list[tuple[str, str]]:
        """Return the scores for people, each with its name: without those that say nothing for so few classes or photos."""
        rows = [("top-1", self.top1_text)]
        if self.has_top5:
            rows.append(("top-5", f"{self.top5:.2%}"))
        rows += [("balanced accuracy", f"{self.balanced_accuracy:.2%}"), ("loss", f"{self.loss:.4f}")]
        if self.has_calibration:
            fitted = "" if self.has_fitted_temperature else " (temperature not fitted)"
            rows.append(("calibration error", f"{self.expected_calibration_error:.2%}{fitted}"))
        return rows

    @property
    def num_correct(self) -> int:
        """How many of the photos that count are classified correctly."""
        return round(self.top1 * self.num_examples)

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy on other photos of this kind: Wilson's, wider for cross-validated scores."""
        if self.num_folds:
            return cross_validation_interval(self.num_correct, self.num_examples, self.num_folds)
        return wilson_interval(self.num_correct, self.num_examples)

    @property
    def top1_text(self) -> str:
        """The accuracy and its interval, as every command shows them; see `accuracy_text`."""
        return accuracy_text(self.num_correct, self.num_examples, self.top1_interval)

    @property
    def has_top5(self) -> bool:
        """Whether top-5 says anything: there are more than five classes."""
        return len(self.per_class) > 5

    @property
    def has_calibration(self) -> bool:
        """Whether there are enough photos for the expected calibration error to be more than noise."""
        return self.num_examples >= MIN_PHOTOS_FOR_CALIBRATION

    @property
    def has_fitted_temperature(self) -> bool:
        """Whether the confidences are calibrated: those of a model as trained have the temperature 1."""
        return self.temperature != 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the scores and the per-class scores as JSON values, without the arrays."""
        return {
            "num_examples": self.num_examples,
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "top5": self.top5,
            "balanced_accuracy": self.balanced_accuracy,
            "loss": self.loss,
            "expected_calibration_error": self.expected_calibration_error,
            "temperature": self.temperature,
            "loss_as_trained": self.loss_as_trained,
            "expected_calibration_error_as_trained": self.expected_calibration_error_as_trained,
            "reliability": [asdict(bin_) for bin_ in self.reliability],
            "per_class": [asdict(scores) for scores in self.per_class],
        }

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
        *,
        truths: NDArray[np.int64],
        predictions: NDArray[np.int64],
        confidences: NDArray[np.float32],
    ) -> "Metrics":
        """Return the metrics with the values that `to_dict` returned, and one truth, prediction and confidence per photo.

        Raises:
            ValueError, LookupError, TypeError: the values are not those of `to_dict`, or do not fit the photos.
        """
        values = {name: value for name, value in values.items() if name != "top1_interval"}  # follows from the others
        per_class = tuple(ClassMetrics(**scores) for scores in values["per_class"])
        counts = truths >= 0
        metrics = cls(
            **{
                **values,
                "reliability": tuple(ReliabilityBin(**bin_) for bin_ in values["reliability"]),
                "per_class": per_class,
                "confusion": confusion_matrix(truths[counts], predictions[counts], len(per_class)),
                "predictions": predictions,
                "confidences": confidences,
                "truths": truths,
            }
        )
        if int(counts.sum()) != metrics.num_examples or round(metrics.top1 * metrics.num_examples) != np.trace(
            metrics.confusion
        ):
            raise ValueError("the predictions are not those that were scored")
        return metrics


def confusion_matrix(truths: NDArray[np.int64], predictions: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return how often each true class (row) was predicted as each class (column): (K, K)."""
    # Not a bincount of K * K cells, which would write all of them: with 21,843 classes the matrix is 3.8 GB, and here only
    # the pages of cells that are counted take memory.
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion, (truths, predictions), 1)
    return confusion
