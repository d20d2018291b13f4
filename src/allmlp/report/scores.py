"""Content of a page from an evaluation: the score, confused pairs, classes, calibration and galleries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allmlp.metrics import ROUGH_INTERVAL, ClassMetrics, Metrics, ReliabilityBin
from allmlp.report import plots
from allmlp.report.formatting import count, percent
from allmlp.report.pictures import Picture, Thumbnail, draw_picture, make_thumbnail
from allmlp.report.summary import ReportSummary, ShownPhoto

__all__ = ["EvaluationSection", "evaluation"]

MAX_PAIRS = 10


@dataclass(frozen=True, kw_only=True)
class Score:
    """The headline score with its confidence interval and a trivial baseline."""

    num_correct: int
    num_wrong: int
    low: float
    """The lower end of the 95 % interval."""
    high: float
    most_frequent_class: str
    floor: float
    """The top-1 of always answering `most_frequent_class`."""

    @property
    def is_rough(self) -> bool:
        """Whether the interval is so wide that the score itself says little."""
        return self.high - self.low > ROUGH_INTERVAL


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """A class that was mistaken for another, and how often."""

    truth: str
    prediction: str
    num_mistakes: int
    num_photos: int

    @property
    def share(self) -> float:
        """The fraction of the true class's photos."""
        return self.num_mistakes / self.num_photos


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A row of the table of classes."""

    number: int
    """The class number in the confusion matrix, from 1."""
    name: str
    num_photos: int
    num_training_photos: int | None
    """None if it is unknown."""
    num_correct: int
    """How many of its photos were recognised."""
    num_predicted: int
    """How many photos were predicted as this class."""
    recall: float
    """NaN if the class has no photos."""
    precision: float
    """NaN if no photo was predicted as this class."""
    mistaken_for: str
    """The class for which its photos are most often mistaken."""
    num_mistaken: int
    """How many of its photos are mistaken for `mistaken_for`."""


@dataclass(frozen=True, kw_only=True)
class PhotoCard:
    """A photo of a gallery and its prediction."""

    photo: Thumbnail
    truth: str
    prediction: str
    confidence: float
    sample_id: str

    @property
    def is_right(self) -> bool:
        return self.truth == self.prediction


@dataclass(frozen=True, kw_only=True)
class EvaluationSection:
    """The evaluation of the headline split."""

    split: str
    metrics: Metrics
    score: Score
    matrix: Picture
    pairs: tuple[ConfusedPair, ...]
    classes: tuple[ClassRow, ...]
    """The worst first."""
    reliability: Picture | None
    """None with too few photos."""
    mistakes: tuple[PhotoCard, ...]
    unsure: tuple[PhotoCard, ...]
    hits: tuple[PhotoCard, ...]


def evaluation(summary: ReportSummary) -> EvaluationSection | None:
    """Compute the content for the headline split; None if no split was evaluated."""
    metrics, split = summary.headline, summary.headline_split
    if metrics is None or split is None:
        return None
    class_names = summary.class_names
    matrix = f"Confusion matrix of {len(class_names)} classes; the lists next to it and below contain its numbers"
    return EvaluationSection(
        split=split,
        metrics=metrics,
        score=_score(metrics, class_names),
        matrix=draw_picture(plots.confusion_figure(metrics.confusion, class_names), matrix),
        pairs=tuple(_confused_pairs(metrics.confusion, class_names)[:MAX_PAIRS]),
        classes=_class_rows(metrics, class_names, summary.class_sizes),
        reliability=draw_picture(
            plots.reliability_figure(metrics.reliability), _describe_reliability(metrics.reliability)
        )
        if metrics.has_calibration
        else None,
        mistakes=_cards(summary.galleries.mistakes),
        unsure=_cards(summary.galleries.unsure),
        hits=_cards(summary.galleries.hits),
    )


def _cards(photos: Sequence[ShownPhoto]) -> tuple[PhotoCard, ...]:
    return tuple(
        PhotoCard(
            photo=make_thumbnail(shown.photo),
            truth=shown.truth,
            prediction=shown.prediction,
            confidence=shown.confidence,
            sample_id=shown.sample_id,
        )
        for shown in photos
    )


def _score(metrics: Metrics, class_names: Sequence[str]) -> Score:
    num_correct = int(np.trace(metrics.confusion))
    low, high = metrics.top1_interval
    totals = metrics.confusion.sum(axis=1)
    most_frequent = int(totals.argmax())
    return Score(
        num_correct=num_correct,
        num_wrong=metrics.num_examples - num_correct,
        low=low,
        high=high,
        most_frequent_class=class_names[most_frequent],
        floor=float(totals[most_frequent] / metrics.num_examples),
    )


def _confused_pairs(confusion: NDArray[np.int64], class_names: Sequence[str]) -> list[ConfusedPair]:
    """Return all pairs of confused classes, the most frequent first, then by share of the true class."""
    totals = confusion.sum(axis=1)
    pairs = [
        ConfusedPair(
            truth=class_names[row],
            prediction=class_names[column],
            num_mistakes=int(confusion[row, column]),
            num_photos=int(totals[row]),
        )
        for row, column in np.argwhere(confusion > 0)
        if row != column
    ]
    return sorted(pairs, key=lambda pair: (-pair.num_mistakes, pair.num_photos, pair.truth, pair.prediction))


def _class_rows(metrics: Metrics, class_names: Sequence[str], class_sizes: Sequence[int]) -> tuple[ClassRow, ...]:
    order = sorted(range(len(metrics.per_class)), key=lambda index: _worst_first(metrics.per_class[index]))
    mistakes = metrics.confusion * (1 - np.eye(len(class_names), dtype=np.int64))
    num_predicted = metrics.confusion.sum(axis=0)
    rows = []
    for index in order:
        scores = metrics.per_class[index]
        other = int(mistakes[index].argmax())
        rows.append(
            ClassRow(
                number=index + 1,
                name=scores.name,
                num_photos=scores.num_examples,
                num_training_photos=class_sizes[index] if class_sizes else None,
                num_correct=int(metrics.confusion[index, index]),
                num_predicted=int(num_predicted[index]),
                recall=scores.recall if scores.num_examples else math.nan,
                precision=scores.precision if num_predicted[index] else math.nan,
                mistaken_for=class_names[other],
                num_mistaken=int(mistakes[index, other]),
            )
        )
    return tuple(rows)


def _worst_first(scores: ClassMetrics) -> tuple[bool, float, float, str]:
    return scores.num_examples == 0, scores.recall, scores.precision, scores.name


def _describe_reliability(bins: Sequence[ReliabilityBin]) -> str:
    parts = [
        f"confidence {percent(bin_.confidence)}, accuracy {percent(bin_.accuracy)} ({count(bin_.num_examples)})"
        for bin_ in bins
        if bin_.num_examples
    ]
    return f"Reliability diagram: {', '.join(parts)}"
