"""Classification metrics: top-1, top-5, balanced accuracy, loss, calibration and per-class scores (NumPy only).

B images per batch, H and W their height and width, K classes, n images in total (without padding).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Batch
from allmlp.errors import CheckpointError, DataError
from allmlp.metrics.calibration import expected_calibration_error, fit_temperature, reliability
from allmlp.metrics.scores import ClassMetrics, Metrics, confusion_matrix
from allmlp.metrics.softmax import log_softmax

__all__ = ["Forward", "score_batches"]

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From pre-processed images (B, 3, H, W) to logits (B, K)."""


class _Outputs(NamedTuple):
    """A batch without its padding: the model's logits (n, K), and which classes count as correct (n, K)."""

    logits: NDArray[Any]
    labels: NDArray[np.bool_]


class _Scores(NamedTuple):
    """Per-photo scores, (n,) each. Sums are taken over all photos at once, so batching cannot change a digit."""

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
    """Score `forward` on all images of `batches`.

    A prediction is correct if it is in the image's label set, so this computes both ordinary accuracy and ReaL. An image with
    an empty label set gets a prediction but does not count; padding is ignored. Ties between logits go to the lower class
    index. For the same logits, the result is bit for bit the same whatever the batching and padding.

    Args:
        forward: from images to logits.
        batches: the images and labels to score.
        class_names: K names.
        temperature: the divisor of the logits before the softmax, as in a checkpoint; it changes no prediction. None fits it
            to these photos (see `fit_temperature`), for which all logits are kept in memory.

    Raises:
        CheckpointError: logits that are not finite or have the wrong shape.
        DataError: nothing to score, or labels that are not rows of 0 and 1 over the K classes.
    """
    outputs: Iterable[_Outputs] = (_outputs(forward, batch, class_names) for batch in batches)
    if temperature is None:
        kept = list(outputs)
        temperature = fit_temperature(*map(np.concatenate, zip(*kept, strict=True))) if kept else 1.0
        outputs = kept
    scored = [_score(batch, temperature) for batch in outputs]
    if not any(scores.counts.any() for scores in scored):
        raise DataError("Nothing to evaluate: no photo has a label. Check the name of the split and its labels.")
    return _summarise(_Scores(*map(np.concatenate, zip(*scored, strict=True))), class_names, temperature)


def _outputs(forward: Forward, batch: Batch, class_names: Sequence[str]) -> _Outputs:
    kept = np.asarray(batch.mask, dtype=bool)
    _check_labels(batch, kept, class_names)
    logits = np.asarray(forward(batch.images))
    _check_logits(logits, kept, class_names)
    return _Outputs(logits[kept], np.asarray(batch.labels)[kept] > 0)


def _score(outputs: _Outputs, temperature: float) -> _Scores:
    # C order, because NumPy adds the elements of strided rows in a different order.
    logits, labels = np.ascontiguousarray(outputs.logits, dtype=np.float64), outputs.labels
    predictions = logits.argmax(axis=1)
    losses, confidences = _losses_and_confidences(logits / temperature, labels, predictions)
    as_trained = (losses, confidences) if temperature == 1.0 else _losses_and_confidences(logits, labels, predictions)
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


def _losses_and_confidences(
    logits: NDArray[np.float64], labels: NDArray[np.bool_], predictions: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the cross-entropy of each photo (B,) and the probability of its prediction (B,)."""
    log_probabilities = log_softmax(logits)
    losses = -np.where(labels, log_probabilities, 0.0).sum(axis=1) / np.maximum(labels.sum(axis=1), 1)
    confidences = np.exp(log_probabilities[np.arange(len(logits)), predictions]).astype(np.float32)
    return losses, confidences


def _ranks(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of classes ranked before a photo's best label, (B,): it is in the top k if its rank is below k."""
    best = np.where(labels, logits, -np.inf).argmax(axis=1)[:, None]
    best_logits = np.take_along_axis(logits, best, axis=1)
    ahead = (logits > best_logits) | ((logits == best_logits) & (np.arange(logits.shape[1]) < best))
    return np.asarray(ahead.sum(axis=1), dtype=np.int64)


def _check_labels(batch: Batch, kept: NDArray[np.bool_], class_names: Sequence[str]) -> None:
    expected = (len(batch.images), len(class_names))
    if batch.labels.shape != expected or kept.shape != expected[:1]:
        raise DataError(
            f"A batch of {expected[0]} photos with {expected[1]} classes has labels of shape {batch.labels.shape} "
            f"and a mask of shape {kept.shape}; expected {expected} and {expected[:1]}."
        )
    if not np.isin(batch.labels[kept], (0, 1)).all():
        raise DataError("Labels for evaluation must be rows of 0 and 1 (mixed or smoothed labels are for training).")


def _check_logits(logits: NDArray[Any], kept: NDArray[np.bool_], class_names: Sequence[str]) -> None:
    expected = (len(kept), len(class_names))
    if logits.shape != expected:
        raise CheckpointError(
            f"The model returned logits of shape {logits.shape}; expected {expected} for {expected[0]} photos and "
            f"{expected[1]} classes. Evaluate the model on photos of the classes that it was trained on."
        )
    is_bad = ~np.isfinite(logits[kept]).all(axis=1)
    if is_bad.any():
        raise CheckpointError(
            f"The model's logits are NaN or infinite for {is_bad.sum()} of {len(is_bad)} photos of a batch, so it "
            "cannot be scored. Either its training diverged (lower the learning rate or the gradient clipping norm "
            "and train again), or the precision is too low for it (evaluate in float32)."
        )


def _summarise(scores: _Scores, class_names: Sequence[str], temperature: float) -> Metrics:
    counts = scores.counts
    truths, predictions = scores.truths[counts], scores.predictions[counts]
    per_class = _per_class(truths, predictions, class_names)
    recalls = [row.recall for row in per_class if row.num_examples]
    num_examples = int(counts.sum())
    is_correct = scores.ranks[counts] < 1
    bins, bins_as_trained = (
        reliability(confidences[counts], is_correct)
        for confidences in (scores.confidences, scores.confidences_as_trained)
    )
    return Metrics(
        num_examples=num_examples,
        top1=int(is_correct.sum()) / num_examples,
        top5=int((scores.ranks[counts] < 5).sum()) / num_examples,
        balanced_accuracy=math.fsum(recalls) / len(recalls),
        loss=math.fsum(scores.losses[counts]) / num_examples,
        expected_calibration_error=expected_calibration_error(bins),
        temperature=temperature,
        loss_as_trained=math.fsum(scores.losses_as_trained[counts]) / num_examples,
        expected_calibration_error_as_trained=expected_calibration_error(bins_as_trained),
        reliability=bins,
        per_class=per_class,
        confusion=confusion_matrix(truths, predictions, len(class_names)),
        predictions=scores.predictions,
        confidences=scores.confidences,
        truths=np.where(counts, scores.truths, -1),
    )


def _per_class(
    truths: NDArray[np.int64], predictions: NDArray[np.int64], class_names: Sequence[str]
) -> tuple[ClassMetrics, ...]:
    num_classes = len(class_names)
    num_true = np.bincount(truths, minlength=num_classes)
    num_predicted = np.bincount(predictions, minlength=num_classes)
    num_correct = np.bincount(truths[truths == predictions], minlength=num_classes)
    recall, precision = num_correct / np.maximum(num_true, 1), num_correct / np.maximum(num_predicted, 1)
    return tuple(
        ClassMetrics(name, int(num_true[index]), float(recall[index]), float(precision[index]))
        for index, name in enumerate(class_names)
    )
