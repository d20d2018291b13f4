"""Linear few-shot accuracy: how good frozen features are when a class has only some examples (section 3 of the paper).

As the authors' evaluator (google-research/big_vision, evaluators/fewshot_lsr.py): least squares with an L2 penalty from the
features, standardised by the examples, to labels in {-1, 1}. In one thing it differs. The authors take one penalty, 2^10, for
every network, data set and number of examples; here the examples choose it among 2^-10 to 2^20, each one judged by the
solution without it. The photos that are scored choose nothing, and the whole curve is kept, 2^10 included.
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
    """How many examples of each class are drawn, how often, and by which seed.

    Raises:
        ConfigError: a number of shots or draws under 1.
    """

    shots: tuple[int, ...] = (1, 5, 10, 25)
    num_draws: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1 or self.num_draws < 1:
            raise ConfigError(
                f"shots are {tuple(self.shots)} in {self.num_draws} draws; expected numbers of at least 1."
            )


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features (n, d) of any float type, and labels (n,), indices of classes.

    `sample_ids` are n different names by which draws know the photos; photos that are only scored need none.
    """

    features: NDArray[Any]
    labels: NDArray[np.int64]
    sample_ids: Sequence[str] = ()


@dataclass(frozen=True)
class PenaltyScore:
    """The result of a penalty: top-1 of the photos that are scored, and of the examples, each left out in turn.

    `left_out_top1` is None with a single example per class: without it, nothing is known of its class.
    """

    penalty: float
    top1: float
    left_out_top1: float | None


@dataclass(frozen=True)
class FewShotDraw:
    """One draw of examples: the penalty that they chose, the top-1 with it, and the curve over `PENALTIES`."""

    draw: int
    penalty: float
    top1: float
    curve: tuple[PenaltyScore, ...]


@dataclass(frozen=True)
class FewShot:
    """The accuracy from `shots` examples per class; fractions in 0..1."""

    shots: int
    draws: tuple[FewShotDraw, ...]

    @property
    def mean(self) -> float:
        """The mean of the draws' top-1."""
        return statistics.fmean(draw.top1 for draw in self.draws)

    @property
    def spread(self) -> float:
        """The standard deviation of the draws' top-1 (of a sample); 0.0 for one draw."""
        return statistics.stdev(draw.top1 for draw in self.draws) if len(self.draws) > 1 else 0.0

    def mean_at(self, penalty: float) -> float:
        """The mean top-1 of the draws at one of `PENALTIES`, whatever they chose."""
        return statistics.fmean(point.top1 for draw in self.draws for point in draw.curve if point.penalty == penalty)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        facts = {"shots": self.shots, "top1": self.mean, "spread": self.spread}
        return {**facts, "top1_at_2^10": self.mean_at(AUTHORS_PENALTY), "draws": [asdict(draw) for draw in self.draws]}


def draw_examples(
    sample_ids: Sequence[str], labels: NDArray[np.int64], class_names: Sequence[str], options: FewShotOptions
) -> NDArray[np.int64]:
    """Return the indices of the examples: (num_draws, classes that have any, the largest number of shots), int64.

    Which ones is a function of (seed, draw, sample ID): neither the order nor the other photos matter, and of a larger
    number the first columns are those of a smaller one.

    Raises:
        DataError: classes with fewer examples, all of them.
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
            f"{shots} examples of every class are asked for, and {len(few)} of {len(present)} classes have fewer in the train "
            f"split: {', '.join(few)}. Ask for fewer shots (--shots), or add photos."
        )
    keys = sample_keys(sample_ids)
    columns = (np.cumsum(counts) - counts)[:, None] + np.arange(shots)
    drawn = []
    for draw in range(options.num_draws):
        order = np.lexsort(
            (keys, uniform(options.seed, draw, keys, 1)[:, 0], labels)
        )  # class by class, at random within
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
    """Return the accuracy for each number of examples per class, over several draws of them. Computed in float64.

    Args:
        examples: what examples are drawn from.
        scored: the photos to score; they choose nothing.
        class_names: K names.
        options: None for the defaults of `FewShotOptions`.
        drawn: indices into `examples`, as `draw_examples` returns for these options; None draws here.

    Raises:
        DataError: classes with fewer examples than asked for; features that are not finite, or not as many as labels and
            sample IDs; labels that are not indices of classes; nothing to score.
    """
    options = options or FewShotOptions()
    _check(examples, scored, class_names)
    if drawn is None:
        drawn = draw_examples(examples.sample_ids, examples.labels, class_names, options)
    results = []
    for number in options.shots:
        draws = []
        for draw, indices in enumerate(drawn):
            chosen = np.sort(indices[:, :number], axis=None)
            part = LabelledFeatures(examples.features[chosen], examples.labels[chosen])
            curve = _curve(part, scored, len(class_names))
            best = _choose(curve)
            draws.append(FewShotDraw(draw, best.penalty, best.top1, curve))
        results.append(FewShot(number, tuple(draws)))
    return tuple(results)


def _check(examples: LabelledFeatures, scored: LabelledFeatures, class_names: Sequence[str]) -> None:
    if not len(scored.features):
        raise DataError("There are no photos to score the few-shot classifier on.")
    for what, part in (("examples", examples), ("photos to score", scored)):
        _check_part(what, part, class_names)
    num_examples, num_ids, num_different = (
        len(sized) for sized in (examples.features, examples.sample_ids, set(examples.sample_ids))
    )
    if not num_different == num_ids == num_examples:
        raise DataError(
            f"{num_examples:,} examples have {num_ids:,} sample IDs, {num_different:,} of them different; each needs its own."
        )
    if examples.features.shape[1] != scored.features.shape[1]:
        raise DataError(
            f"The examples have {examples.features.shape[1]:,} features, the photos to score {scored.features.shape[1]:,}; "
            "expected those of the same network."
        )
    without = np.setdiff1d(scored.labels, examples.labels)
    if len(without):
        names = ", ".join(escape(class_names[label]) for label in without)
        raise DataError(f"{len(without)} classes have photos to score but none in the train split: {names}.")


def _check_part(what: str, part: LabelledFeatures, class_names: Sequence[str]) -> None:
    values, labels = part.features, part.labels
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        raise DataError(
            f"The features of the {what} are {values.shape}, their labels {labels.shape}; expected (n, d) and (n,)."
        )
    bad = np.unique(labels[(labels < 0) | (labels >= len(class_names))])
    if len(bad):
        raise DataError(
            f"The labels of the {what} hold {summarise(bad.tolist())}; expected 0 to {len(class_names) - 1}, indices "
            "into the class names."
        )
    num_bad = int((~np.isfinite(values).all(axis=1)).sum())
    if num_bad:
        raise DataError(f"The features of {num_bad:,} of {len(values):,} {what} are NaN or infinite.")


def _curve(examples: LabelledFeatures, scored: LabelledFeatures, num_classes: int) -> tuple[PenaltyScore, ...]:
    """Return the scores of every penalty, from a single decomposition."""
    features, labels = examples.features, examples.labels
    present, own = np.unique(labels, return_inverse=True)  # a class without photos anywhere has no column
    targets = 2.0 * np.eye(len(present))[own] - 1.0  # (n, K), as the authors
    numbers = np.full(num_classes, -1)
    numbers[present] = np.arange(len(present))
    truths, penalties = numbers[scored.labels], np.array(PENALTIES)
    ridge = decompose(features, targets)
    right, left_out = np.zeros(len(penalties), np.int64), np.zeros(len(penalties), np.int64)
    for rows, group, scores in ridge.scores(scored.features, penalties):
        right[group] += (scores.argmax(axis=2) == truths[rows]).sum(axis=1)
    is_single = len(labels) == len(present)
    if not is_single:
        for rows, group, scores in ridge.scores_left_out(features, targets, penalties):
            left_out[group] += (scores.argmax(axis=2) == own[rows]).sum(axis=1)
    return tuple(
        PenaltyScore(penalty, int(hits) / len(truths), None if is_single else int(left_out_hits) / len(labels))
        for penalty, hits, left_out_hits in zip(PENALTIES, right, left_out, strict=True)
    )


def _choose(curve: Sequence[PenaltyScore]) -> PenaltyScore:
    """Return the penalty that names most examples right, each left out; of equals the nearest to the authors'."""

    def merit(point: PenaltyScore) -> tuple[float, float, float]:
        distance = abs(float(np.log2(point.penalty / AUTHORS_PENALTY)))
        return (point.left_out_top1 or 0.0), -distance, point.penalty

    return max(curve, key=merit)
