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

__all__ = ["AUTHORS_PENALTY", "PENALTIES", "FewShot", "FewShotDraw", "PenaltyScore", "draw_examples", "few_shot"]

PENALTIES = tuple(2.0**exponent for exponent in range(-10, 21))
AUTHORS_PENALTY = 2.0**10


@dataclass(frozen=True)
class PenaltyScore:
    """What one penalty gives: top-1 of the photos that are scored, and of the examples, each one left out.

    `left_out_top1` is None with one example a class: without it, nothing is known of its class.
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
    """The accuracy from `shots` examples a class; fractions in 0..1."""

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
        return statistics.fmean(one.top1 for draw in self.draws for one in draw.curve if one.penalty == penalty)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        facts = {"shots": self.shots, "top1": self.mean, "spread": self.spread}
        return {**facts, "top1_at_2^10": self.mean_at(AUTHORS_PENALTY), "draws": [asdict(draw) for draw in self.draws]}


def draw_examples(
    sample_ids: Sequence[str],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    shots: int,
    seed: int,
    draw: int,
) -> NDArray[np.int64]:
    """Return the indices of `shots` examples of every class that has any, (classes, shots).

    Which ones is a function of (seed, draw, sample ID): neither the order nor the other photos matter, and of a larger
    number the first columns are those of a smaller one.

    Raises:
        DataError: classes with fewer examples, all of them.
    """
    keys = sample_keys(sample_ids)
    draws = uniform(seed, draw, keys, 1)[:, 0]
    order = np.lexsort((keys, draws, labels))  # class by class, at random within
    present, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
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
    return np.asarray(order[starts[:, None] + np.arange(shots)], dtype=np.int64)


def few_shot(
    features: NDArray[Any],
    labels: NDArray[np.int64],
    sample_ids: Sequence[str],
    scored_features: NDArray[Any],
    scored_labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    shots: Sequence[int] = (1, 5, 10, 25),
    num_draws: int = 3,
    seed: int = 0,
) -> tuple[FewShot, ...]:
    """Return the accuracy for each number of examples a class, over several draws of them.

    Args:
        features: (n, d) of the photos that examples are drawn from, of any float type; computed in float64.
        labels: (n,), indices into `class_names`.
        sample_ids: n names by which the draws know the photos.
        scored_features: (m, d) of the photos to score; they choose nothing.
        scored_labels: (m,).

    Raises:
        ConfigError: a number of shots or draws under 1.
        DataError: classes with fewer examples than asked for; features that are not finite, or not as many as labels and
            sample IDs; labels that are no index of a class; nothing to score.
    """
    if not shots or min(shots) < 1 or num_draws < 1:
        raise ConfigError(f"shots are {tuple(shots)} in {num_draws} draws; expected numbers of at least 1.")
    _check(features, labels, sample_ids, scored_features, scored_labels, class_names)
    drawn = [
        draw_examples(sample_ids, labels, class_names, shots=max(shots), seed=seed, draw=draw)
        for draw in range(num_draws)
    ]
    results = []
    for number in shots:
        draws = []
        for draw, examples in enumerate(drawn):
            chosen = np.sort(examples[:, :number], axis=None)
            curve = _curve(features[chosen], labels[chosen], scored_features, scored_labels, len(class_names))
            best = _choose(curve)
            draws.append(FewShotDraw(draw, best.penalty, best.top1, curve))
        results.append(FewShot(number, tuple(draws)))
    return tuple(results)


def _check(
    features: NDArray[Any],
    labels: NDArray[np.int64],
    sample_ids: Sequence[str],
    scored_features: NDArray[Any],
    scored_labels: NDArray[np.int64],
    class_names: Sequence[str],
) -> None:
    if not len(scored_features):
        raise DataError("There are no photos to score the few-shot classifier on.")
    for what, values, numbers in (
        ("examples", features, labels),
        ("photos to score", scored_features, scored_labels),
    ):
        if values.ndim != 2 or numbers.shape != values.shape[:1]:
            raise DataError(
                f"The features of the {what} are {values.shape}, their labels {numbers.shape}; expected (n, d) and (n,)."
            )
        bad = np.unique(numbers[(numbers < 0) | (numbers >= len(class_names))])
        if len(bad):
            raise DataError(
                f"The labels of the {what} hold {summarise(bad.tolist())}; expected 0 to {len(class_names) - 1}, indices "
                "into the class names."
            )
        num_bad = int((~np.isfinite(values).all(axis=1)).sum())
        if num_bad:
            raise DataError(f"The features of {num_bad:,} of {len(values):,} {what} are NaN or infinite.")
    if not len(set(sample_ids)) == len(sample_ids) == len(features):
        raise DataError(
            f"{len(features):,} examples have {len(sample_ids):,} sample IDs, {len(set(sample_ids)):,} of them different; each "
            "needs one of its own."
        )
    if features.shape[1] != scored_features.shape[1]:
        raise DataError(
            f"The examples have {features.shape[1]:,} features, the photos to score {scored_features.shape[1]:,}; expected "
            "those of one network."
        )
    without = np.setdiff1d(scored_labels, labels)
    if len(without):
        names = ", ".join(escape(class_names[label]) for label in without)
        raise DataError(f"{len(without)} classes have photos to score but none in the train split: {names}.")


def _curve(
    features: NDArray[Any],
    labels: NDArray[np.int64],
    scored_features: NDArray[Any],
    scored_labels: NDArray[np.int64],
    num_classes: int,
) -> tuple[PenaltyScore, ...]:
    """Return the scores of every penalty, from one decomposition."""
    present, own = np.unique(labels, return_inverse=True)  # a class without photos anywhere has no column
    targets = 2.0 * np.eye(len(present))[own] - 1.0  # (n, K), as the authors
    numbers = np.full(num_classes, -1)
    numbers[present] = np.arange(len(present))
    truths, penalties = numbers[scored_labels], np.array(PENALTIES)
    ridge = decompose(features, targets)
    right, left_out = np.zeros(len(penalties), np.int64), np.zeros(len(penalties), np.int64)
    for rows, some, scores in ridge.scores(scored_features, penalties):
        right[some] += (scores.argmax(axis=2) == truths[rows]).sum(axis=1)
    is_single = len(labels) == len(present)
    if not is_single:
        for rows, some, scores in ridge.scores_left_out(features, targets, penalties):
            left_out[some] += (scores.argmax(axis=2) == own[rows]).sum(axis=1)
    return tuple(
        PenaltyScore(penalty, int(one) / len(truths), None if is_single else int(other) / len(labels))
        for penalty, one, other in zip(PENALTIES, right, left_out, strict=True)
    )


def _choose(curve: Sequence[PenaltyScore]) -> PenaltyScore:
    """Return the penalty that names most examples right, each left out; of equals the nearest to the authors'."""

    def merit(one: PenaltyScore) -> tuple[float, float, float]:
        distance = abs(float(np.log2(one.penalty / AUTHORS_PENALTY)))
        return (one.left_out_top1 or 0.0), -distance, one.penalty

    return max(curve, key=merit)
