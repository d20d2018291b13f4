"""Linear few-shot accuracy: the quality of frozen features when a class has only a few examples (section 3 of the paper).

As in the authors' evaluator (google-research/big_vision, evaluators/fewshot_lsr.py), this is least squares with an L2 penalty
of 2^10 from the features, standardised by the examples, to targets in {-1, 1}. A second score uses the penalty from 2^-10 to
2^20 with the smallest leave-one-out error on the examples. The photos to score choose nothing. The whole curve is kept.

The error is the squared one, not the accuracy. Without an example, its class is rarer than all others, so the bias speaks
against the right answer, the more the larger the penalty; leave-one-out accuracy therefore favours penalties that are too
small. It is also coarse: 50 examples allow 51 values.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.data import sample_keys, uniform
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape, summarise
from allmlp.metrics.ridge import decompose

__all__ = [
    "AUTHORS_PENALTY",
    "PENALTIES",
    "FewShot",
    "FewShotDraw",
    "FewShotOptions",
    "LabelledFeatures",
    "PenaltyScore",
    "draw_examples",
    "few_shot",
]

PENALTIES = tuple(2.0**exponent for exponent in range(-10, 21))
AUTHORS_PENALTY = 2.0**10


@dataclass(frozen=True, kw_only=True)
class FewShotOptions:
    """The numbers of examples per class (`shots`), the number of draws, and their seed.

    Raises:
        ConfigError: a number of shots or draws under 1.
    """

    shots: tuple[int, ...] = (1, 5, 10, 25)
    num_draws: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1 or self.num_draws < 1:
            raise ConfigError(
                f"shots is {tuple(self.shots)} and num_draws is {self.num_draws}; expected numbers of at least 1."
            )


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features (n, d) of any float type, and labels (n,), which are class indices.

    `sample_ids` are n distinct names that identify the photos for draws; photos that are only scored need none.
    """

    features: NDArray[Any]
    labels: NDArray[np.int64]
    sample_ids: Sequence[str] = ()


@dataclass(frozen=True)
class PenaltyScore:
    """The result of one penalty: top-1 on the scored photos, and the mean squared leave-one-out error on the examples.

    `left_out_error` is None with a single example per class: leaving it out removes its class.
    """

    penalty: float
    top1: float
    left_out_error: float | None


@dataclass(frozen=True)
class FewShotDraw:
    """One draw of examples: top-1 with the authors' penalty, the penalty chosen by leave-one-out and the top-1 with it, and
    the curve over `PENALTIES`."""

    draw: int
    top1: float
    chosen_penalty: float
    chosen_top1: float
    curve: tuple[PenaltyScore, ...]


@dataclass(frozen=True)
class FewShot:
    """The accuracy with `shots` examples per class, with the authors' penalty; fractions in 0..1."""

    shots: int
    draws: tuple[FewShotDraw, ...]

    @property
    def mean(self) -> float:
        """The mean of the draws' top-1."""
        return statistics.fmean(draw.top1 for draw in self.draws)

    @property
    def spread(self) -> float:
        """The sample standard deviation of the draws' top-1; 0.0 for a single draw."""
        return statistics.stdev(draw.top1 for draw in self.draws) if len(self.draws) > 1 else 0.0

    @property
    def chosen_mean(self) -> float:
        """The mean of the draws' top-1 with the penalties that leave-one-out chose."""
        return statistics.fmean(draw.chosen_top1 for draw in self.draws)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        head = {"shots": self.shots, "penalty": AUTHORS_PENALTY, "top1": self.mean, "spread": self.spread}
        return {**head, "chosen_top1": self.chosen_mean, "draws": [asdict(draw) for draw in self.draws]}


def draw_examples(
    sample_ids: Sequence[str], labels: NDArray[np.int64], class_names: Sequence[str], options: FewShotOptions
) -> NDArray[np.int64]:
    """Draw examples; return their indices, int64 (num_draws, classes that have photos, the largest number of shots).

    A draw is a function of (seed, draw, sample ID): neither the order of the photos nor the other photos matter, and the
    first k columns are the draw of k shots.

    Raises:
        DataError: classes with fewer photos than the largest number of shots; all of them are listed.
    """
    shots = max(options.shots)
    present, counts = np.unique(labels, return_counts=True)
    if not len(present) or counts.min() < shots:
        few = [
            f"{escape(class_names[label])} ({count})"
            for label, count in zip(present, counts, strict=True)
            if count < shots
        ]
        raise DataError(
            f"{shots} examples per class are needed, but {len(few)} of {len(present)} classes have fewer in the train split: "
            f"{', '.join(few)}. Use fewer shots (--shots), or add photos."
        )
    keys = sample_keys(sample_ids)
    columns = (np.cumsum(counts) - counts)[:, None] + np.arange(shots)
    drawn = []
    for draw in range(options.num_draws):
        # Sorted by class; in random order within a class.
        order = np.lexsort((keys, uniform(options.seed, draw, keys, 1)[:, 0], labels))
        drawn.append(order[columns])
    return np.array(drawn, dtype=np.int64)


def few_shot(
    examples: LabelledFeatures,
    scored: LabelledFeatures,
    class_names: Sequence[str],
    options: FewShotOptions | None = None,
    *,
    drawn: NDArray[np.int64] | None = None,
) -> tuple[FewShot, ...]:
    """Return the accuracy for each number of shots, over several draws of examples. Computed in float64.

    Args:
        examples: the photos from which examples are drawn.
        scored: the photos to score; they have no influence on the classifier.
        class_names: K names.
        options: None takes the defaults of `FewShotOptions`.
        drawn: indices into `examples`, as `draw_examples` returns them for these options; None draws them here.

    Raises:
        DataError: classes with too few examples, features that are not finite, numbers of features, labels and sample IDs
            that differ, labels that are not class indices, or nothing to score.
    """
    options = options or FewShotOptions()
    _check(examples, scored, class_names)
    if drawn is None:
        drawn = draw_examples(examples.sample_ids, examples.labels, class_names, options)
    results = []
    for number in options.shots:
        draws = []
        for draw, indices in enumerate(drawn):
            rows = np.sort(indices[:, :number], axis=None)
            drawn_examples = LabelledFeatures(examples.features[rows], examples.labels[rows])
            curve = _curve(drawn_examples, scored, len(class_names))
            (authors,) = (point for point in curve if point.penalty == AUTHORS_PENALTY)
            chosen = _choose(curve) or authors
            draws.append(FewShotDraw(draw, authors.top1, chosen.penalty, chosen.top1, curve))
        results.append(FewShot(number, tuple(draws)))
    return tuple(results)


def _check(examples: LabelledFeatures, scored: LabelledFeatures, class_names: Sequence[str]) -> None:
    if not len(scored.features):
        raise DataError("There are no photos to score the few-shot classifier on.")
    for role, photos in (("examples", examples), ("photos to score", scored)):
        _check_features(role, photos, class_names)
    num_examples, num_ids, num_distinct = (
        len(sized) for sized in (examples.features, examples.sample_ids, set(examples.sample_ids))
    )
    if not num_distinct == num_ids == num_examples:
        raise DataError(
            f"{num_examples:,} examples have {num_ids:,} sample IDs, of which {num_distinct:,} are distinct; expected one "
            "distinct sample ID per example."
        )
    if examples.features.shape[1] != scored.features.shape[1]:
        raise DataError(
            f"The examples have {examples.features.shape[1]:,} features and the photos to score "
            f"{scored.features.shape[1]:,}; expected features of the same network."
        )
    missing = np.setdiff1d(scored.labels, examples.labels)
    if len(missing):
        names = ", ".join(escape(class_names[label]) for label in missing)
        raise DataError(f"{len(missing)} classes have photos to score but none in the train split: {names}.")


def _check_features(role: str, photos: LabelledFeatures, class_names: Sequence[str]) -> None:
    features, labels = photos.features, photos.labels
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise DataError(
            f"The features of the {role} have shape {features.shape} and their labels {labels.shape}; expected (n, d) and "
            "(n,)."
        )
    invalid = np.unique(labels[(labels < 0) | (labels >= len(class_names))])
    if len(invalid):
        raise DataError(
            f"The labels of the {role} contain {summarise(invalid.tolist())}; expected class indices from 0 to "
            f"{len(class_names) - 1}."
        )
    num_bad = int((~np.isfinite(features).all(axis=1)).sum())
    if num_bad:
        raise DataError(f"The features of {num_bad:,} of {len(features):,} {role} are NaN or infinite.")


def _curve(examples: LabelledFeatures, scored: LabelledFeatures, num_classes: int) -> tuple[PenaltyScore, ...]:
    """Return the scores of every penalty, from a single decomposition."""
    features, labels = examples.features, examples.labels
    present, example_columns = np.unique(labels, return_inverse=True)  # a class without any photos has no column
    targets = 2.0 * np.eye(len(present))[example_columns] - 1.0  # (n, K), as in the authors' evaluator
    column_of_class = np.full(num_classes, -1)
    column_of_class[present] = np.arange(len(present))
    scored_columns, penalties = column_of_class[scored.labels], np.array(PENALTIES)
    ridge = decompose(features, targets)
    num_correct, squared_errors = np.zeros(len(penalties), np.int64), np.zeros(len(penalties))
    for rows, group, scores in ridge.scores(scored.features, penalties):
        num_correct[group] += (scores.argmax(axis=2) == scored_columns[rows]).sum(axis=1)
    is_single = len(labels) == len(present)
    if not is_single:
        for rows, group, scores in ridge.scores_left_out(features, targets, penalties):
            squared_errors[group] += np.square(scores - targets[rows]).sum(axis=(1, 2))
    errors = [None] * len(penalties) if is_single else (squared_errors / targets.size).tolist()
    return tuple(
        PenaltyScore(penalty, int(correct) / len(scored_columns), error)
        for penalty, correct, error in zip(PENALTIES, num_correct, errors, strict=True)
    )


def _choose(curve: Sequence[PenaltyScore]) -> PenaltyScore | None:
    """Return the penalty with the smallest leave-one-out error; None where no example can be left out."""
    points = [point for point in curve if point.left_out_error is not None]
    return min(points, key=lambda point: point.left_out_error or 0.0, default=None)
