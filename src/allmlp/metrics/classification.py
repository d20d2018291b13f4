"""Top-1, top-5, balanced accuracy, loss, calibration, and the numbers of every class (NumPy only).

B photos in a batch, H and W their sides, K classes, n photos in all (padding left out).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Batch
from allmlp.errors import CheckpointError, DataError
from allmlp.metrics.calibration import ReliabilityBin, expected_calibration_error, fit_temperature, reliability
from allmlp.metrics.softmax import log_softmax

__all__ = ["ClassMetrics", "Forward", "Metrics", "score_batches"]

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From pre-processed photos (B, 3, H, W) to logits (B, K)."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class: of its photos `recall` were named right, of the photos given its name `precision` rightly so.

    Both are fractions, and 0.0 where there was nothing to count.
    """

    name: str
    num_examples: int
    recall: float
    precision: float


@dataclass(frozen=True, eq=False)
class Metrics:
    """The scores of a classifier; all rates are fractions in 0..1."""

    num_examples: int
    """Photos that count: neither padding nor without a label."""
    top1: float
    top5: float
    """The label is among the five most probable classes; 1.0 where there are at most five classes."""
    balanced_accuracy: float
    """The mean recall of the classes that have photos."""
    loss: float
    """Mean softmax cross-entropy in nats; a photo with several labels has its target spread evenly over them."""
    expected_calibration_error: float
    """The distance between confidence and accuracy: its mean over 15 equal bins of confidence, weighted by their photos."""
    temperature: float
    """What the logits were divided by for `loss`, `expected_calibration_error`, `reliability` and `confidences`."""
    loss_as_trained: float
    """The loss at temperature 1."""
    expected_calibration_error_as_trained: float
    """The error at temperature 1."""
    reliability: tuple[ReliabilityBin, ...]
    per_class: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64]
    """(K, K), rows the truth, columns the prediction. Of several labels, the predicted one counts as the truth when it
    is among them, else the first: the sum is always `num_examples`, and the diagonal's share of it `top1`."""
    predictions: NDArray[np.int64]
    """(n,) in the batches' order, photos without a label included."""
    confidences: NDArray[np.float32]
    """(n,), the softmax probability of the prediction."""

    def to_dict(self) -> dict[str, Any]:
        """Return the rates and the classes as JSON values, without the arrays."""
        return {
            "num_examples": self.num_examples,
            "top1": self.top1,
            "top5": self.top5,
            "balanced_accuracy": self.balanced_accuracy,
            "loss": self.loss,
            "expected_calibration_error": self.expected_calibration_error,
            "temperature": self.temperature,
            "loss_as_trained": self.loss_as_trained,
            "expected_calibration_error_as_trained": self.expected_calibration_error_as_trained,
            "reliability": [asdict(part) for part in self.reliability],
            "per_class": [asdict(row) for row in self.per_class],
        }


class _Outputs(NamedTuple):
    """The photos of a batch, without padding: logits (n, K) as they came, and the classes that count as right (n, K)."""

    logits: NDArray[Any]
    labels: NDArray[np.bool_]


class _Scores(NamedTuple):
    """Photo by photo, (n,) each: nothing is summed before all are known, so batching cannot change a digit."""

    counts: NDArray[np.bool_]
    ranks: NDArray[np.int64]
    losses: NDArray[np.float64]
    truths: NDArray[np.int64]
    predictions: NDArray[np.int64]
    confidences: NDArray[np.float32]
    losses_as_trained: NDArray[np.float64]
    confidences_as_trained: NDArray[np.float32]


def score_batches(
    forward: Forward, batches: Iterable[Batch], class_names: Sequence[str], *, temperature: float | None = 1.0
) -> Metrics:
    """Score `forward` on all photos of `batches`.

    A prediction is right when it is in the row's label set, so top-1 and ReaL are one function; a row with an empty set
    gets a prediction but does not count, and padding is left out. Of equal logits the class with the lower index comes
    first. Given the same logits, the result is the same to the last bit however the photos were batched or padded.

    Args:
        forward: from photos to logits.
        batches: what to score.
        class_names: K names.
        temperature: what logits are divided by before the softmax, as in a checkpoint; it changes no prediction. None fits
            it on these photos, whose logits are kept in memory for that; see `fit_temperature`.

    Raises:
        CheckpointError: the logits are not finite or not of these classes.
        DataError: nothing to score, or labels that are not rows of 0 and 1 over these classes.
    """
    outputs: Iterable[_Outputs] = (_outputs(forward, batch, class_names) for batch in batches)
    if temperature is None:
        kept = list(outputs)
        temperature = fit_temperature(*map(np.concatenate, zip(*kept, strict=True))) if kept else 1.0
        outputs = kept
    scored = [_score(batch, temperature) for batch in outputs]
    if not any(scores.counts.any() for scores in scored):
        raise DataError("Nothing to evaluate: there is no photo with a label. Check the split's name and its labels.")
    return _summarise(_Scores(*map(np.concatenate, zip(*scored, strict=True))), class_names, temperature)


def _outputs(forward: Forward, batch: Batch, class_names: Sequence[str]) -> _Outputs:
    kept = np.asarray(batch.mask, dtype=bool)
    _check_labels(batch, kept, class_names)
    answer = np.asarray(forward(batch.images))
    _check_logits(answer, kept, class_names)
    return _Outputs(answer[kept], np.asarray(batch.labels)[kept] > 0)


def _score(outputs: _Outputs, temperature: float) -> _Scores:
    # C order, because NumPy sums strided rows in another order than contiguous ones.
    logits, labels = np.ascontiguousarray(outputs.logits, dtype=np.float64), outputs.labels
    predictions = logits.argmax(axis=1)
    losses, confidences = _certainty(logits / temperature, labels, predictions)
    as_trained = (losses, confidences) if temperature == 1.0 else _certainty(logits, labels, predictions)
    return _Scores(
        counts=labels.sum(axis=1) > 0,
        ranks=_ranks(logits, labels),
        losses=losses,
        truths=np.where(labels[np.arange(len(logits)), predictions], predictions, labels.argmax(axis=1)),
        predictions=predictions,
        confidences=confidences,
        losses_as_trained=as_trained[0],
        confidences_as_trained=as_trained[1],
    )


def _certainty(
    logits: NDArray[np.float64], labels: NDArray[np.bool_], predictions: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the cross-entropy of each photo (B,) and the probability of its prediction (B,)."""
    log_probabilities = log_softmax(logits)
    losses = -np.where(labels, log_probabilities, 0.0).sum(axis=1) / np.maximum(labels.sum(axis=1), 1)
    confidences = np.exp(log_probabilities[np.arange(len(logits)), predictions]).astype(np.float32)
    return losses, confidences


def _ranks(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many classes come before the best-placed label, (B,): in the top k means a rank below k."""
    best = np.where(labels, logits, -np.inf).argmax(axis=1)[:, None]
    best_logits = np.take_along_axis(logits, best, axis=1)
    ahead = (logits > best_logits) | ((logits == best_logits) & (np.arange(logits.shape[1]) < best))
    return np.asarray(ahead.sum(axis=1), dtype=np.int64)


def _check_labels(batch: Batch, kept: NDArray[np.bool_], class_names: Sequence[str]) -> None:
    expected = (len(batch.images), len(class_names))
    if batch.labels.shape != expected or kept.shape != expected[:1]:
        raise DataError(
            f"A batch of {expected[0]} photos of {expected[1]} classes has labels of shape {batch.labels.shape} "
            f"and a mask of shape {kept.shape}; expected {expected} and {expected[:1]}."
        )
    if not np.isin(batch.labels[kept], (0, 1)).all():
        raise DataError("Labels to evaluate on must be rows of 0 and 1 (mixed or smoothed labels are for training).")


def _check_logits(answer: NDArray[Any], kept: NDArray[np.bool_], class_names: Sequence[str]) -> None:
    expected = (len(kept), len(class_names))
    if answer.shape != expected:
        raise CheckpointError(
            f"The model answered with logits of shape {answer.shape} where {expected[0]} photos and {expected[1]} "
            f"classes ask for {expected}. Evaluate it on photos of the classes that it was trained on."
        )
    is_bad = ~np.isfinite(answer[kept]).all(axis=1)
    if is_bad.any():
        raise CheckpointError(
            f"The model's logits are NaN or infinite for {is_bad.sum()} of {len(is_bad)} photos of a batch, so it "
            "cannot be scored. Either its training diverged (lower the learning rate or the gradient clipping norm, "
            "and train again), or the precision is too narrow for it (evaluate in float32)."
        )


def _summarise(scores: _Scores, class_names: Sequence[str], temperature: float) -> Metrics:
    num_classes = len(class_names)
    counts = scores.counts
    truths, predictions = scores.truths[counts], scores.predictions[counts]
    # Touched cell by cell, not by a K * K bincount: at 21,843 classes the matrix is 3.8 GB of untouched zero pages.
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion, (truths, predictions), 1)
    per_class = _per_class(truths, predictions, class_names)
    recalls = [row.recall for row in per_class if row.num_examples]
    num_examples = int(counts.sum())
    is_right = scores.ranks[counts] < 1
    bins, bins_as_trained = (
        reliability(confidences[counts], is_right)
        for confidences in (scores.confidences, scores.confidences_as_trained)
    )
    return Metrics(
        num_examples=num_examples,
        top1=int(is_right.sum()) / num_examples,
        top5=int((scores.ranks[counts] < 5).sum()) / num_examples,
        balanced_accuracy=math.fsum(recalls) / len(recalls),
        loss=math.fsum(scores.losses[counts]) / num_examples,
        expected_calibration_error=expected_calibration_error(bins),
        temperature=temperature,
        loss_as_trained=math.fsum(scores.losses_as_trained[counts]) / num_examples,
        expected_calibration_error_as_trained=expected_calibration_error(bins_as_trained),
        reliability=bins,
        per_class=per_class,
        confusion=confusion,
        predictions=scores.predictions,
        confidences=scores.confidences,
    )


def _per_class(
    truths: NDArray[np.int64], predictions: NDArray[np.int64], class_names: Sequence[str]
) -> tuple[ClassMetrics, ...]:
    num_classes = len(class_names)
    num_true = np.bincount(truths, minlength=num_classes)
    num_named = np.bincount(predictions, minlength=num_classes)
    num_right = np.bincount(truths[truths == predictions], minlength=num_classes)
    recall, precision = num_right / np.maximum(num_true, 1), num_right / np.maximum(num_named, 1)
    return tuple(
        ClassMetrics(name, int(num_true[index]), float(recall[index]), float(precision[index]))
        for index, name in enumerate(class_names)
    )
