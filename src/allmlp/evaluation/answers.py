"""Answers of models as `predict` gives them, a class or "unknown", and which of them differ between two models."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.inference import Predictor, RunnableModel

__all__ = ["Answers", "ChangedAnswers", "answer_batches", "changed_answers"]


class Answers(NamedTuple):
    """What a model answers for n photos.

    Attributes:
        class_names: K names, in the order of the logits.
        logits: float32 (n, K).
        known_margin: by how much the score of each photo exceeds the threshold of "unknown", float64 (n,); None for a model
            without a threshold.
    """

    class_names: tuple[str, ...]
    logits: NDArray[np.float32]
    known_margin: NDArray[np.float64] | None

    @property
    def classes(self) -> NDArray[np.int64]:
        """The index of each photo's most probable class (n,)."""
        indices: NDArray[np.int64] = self.logits.argmax(axis=1)
        return indices

    @property
    def labels(self) -> NDArray[np.object_]:
        """The name of each photo's most probable class (n,)."""
        return np.array(self.class_names, dtype=object)[self.classes]

    @property
    def is_unknown(self) -> NDArray[np.bool_]:
        """Whether each photo is answered with "unknown" (n,)."""
        return np.zeros(len(self.logits), np.bool_) if self.known_margin is None else self.known_margin < 0


class ChangedAnswers(NamedTuple):
    """Which of n photos get another answer from another model.

    Attributes:
        by_class: photos with another most probable class, by name, bool (n,).
        by_unknown: photos that became "unknown", or no longer are, bool (n,).
        is_tie: of these, the photos whose answer may change by rounding alone, bool (n,).
    """

    by_class: NDArray[np.bool_]
    by_unknown: NDArray[np.bool_]
    is_tie: NDArray[np.bool_]

    @property
    def num_same(self) -> int:
        """The number of photos with the same answer."""
        return int((~(self.by_class | self.by_unknown)).sum())


def answer_batches(
    model: RunnableModel, batches: Iterable[Iterable[NDArray[Any]]], *, done: Callable[[int], object]
) -> Answers:
    """Return a model's answers for batches of what its `preparation.resize` made of photos; there is at least one photo.

    `done` takes the number of photos of each batch that was computed.
    """
    predictor = Predictor(model)
    rows = []
    for batch in batches:
        rows.append(predictor.outputs(list(batch)))
        done(len(rows[-1]))
    outputs = np.concatenate(rows)
    logits = np.ascontiguousarray(outputs[:, : len(predictor.class_names)])
    return Answers(predictor.class_names, logits, predictor.known_margin(outputs))


def changed_answers(
    before: Answers, after: Answers, *, logit_rounding: float = 0.0, score_rounding: float = 0.0
) -> ChangedAnswers:
    """Compare the answers of two models for the same photos.

    Args:
        before, after: the answers.
        logit_rounding: by how much a logit may differ, so that two classes that are closer than twice that are a tie.
        score_rounding: the same for the score of "unknown", which is compared with a threshold.
    """
    rows = np.arange(len(before.logits))
    by_class, by_unknown = before.labels != after.labels, before.is_unknown != after.is_unknown
    indices = {name: index for index, name in enumerate(before.class_names)}
    other = np.array([indices.get(name, -1) for name in after.labels])
    gap = before.logits[rows, before.classes] - before.logits[rows, other]
    is_class_tie = (other >= 0) & (gap <= 2 * logit_rounding)
    margin = np.full(len(rows), np.inf) if before.known_margin is None else np.abs(before.known_margin)
    is_tie = (~by_class | is_class_tie) & (~by_unknown | (margin <= score_rounding)) & (by_class | by_unknown)
    return ChangedAnswers(by_class, by_unknown, is_tie)
