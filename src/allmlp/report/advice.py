"""Advice on how to improve a model, derived from the facts of its run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allmlp.report.facts import absolute_command
from allmlp.report.formatting import percent
from allmlp.report.summary import ReportSummary

__all__ = ["FEW_PER_CLASS", "IMBALANCE", "IMBALANCE_REMEDY", "Advice", "advice"]

FEW_PER_CLASS = 20
"""The number of training photos below which a run reports that a class has too few."""
IMBALANCE = 3.0
"""The ratio of the largest to the smallest class above which a run reports the remedy."""
IMBALANCE_REMEDY = "--balance"

_MAX_ADVICE = 5
_GAP = 0.15  # between the scores of training and unseen photos
_FEW_SCORED = 100
_SMALL_IMAGE = 128  # pixels; the published Mixers take 224


@dataclass(frozen=True)
class Advice:
    """What was found, what to do about it, and the command that does it; "" for none."""

    finding: str
    action: str
    command: str = ""


def advice(summary: ReportSummary) -> tuple[Advice, ...]:
    """Return at most five pieces of advice, the most useful first; none for an evaluation or an unscored run."""
    if not summary.is_run or summary.headline is None:
        return ()
    found = [*_on_fit(summary), *_on_classes(summary), *_on_start(summary), *_on_labels(summary), *_on_scoring(summary)]
    return tuple(found[:_MAX_ADVICE])


def _on_fit(summary: ReportSummary) -> list[Advice]:
    score, metrics = summary.training_score, summary.headline
    assert metrics is not None
    best, total = summary.best_epoch or 0, summary.results[-1]["epoch"] if summary.results else 0
    if summary.stopped is not None:
        return []
    if total > 1 and best >= 0.95 * total and summary.recipe.get("best_by", "top1") != "last":
        return [
            Advice(
                f"The best epoch is one of the last ({best:g} of {total:g}): accuracy was still rising.",
                "Train longer; fine-tuning this run keeps what it has learned.",
                _command(
                    summary, "finetune", "--from", summary.directory, "--epochs", f"{2 * total:g}", *_seed(summary)
                ),
            )
        ]
    if score is None or score.top1 - metrics.top1 < _GAP:
        return []
    return [
        Advice(
            f"Training photos: {percent(score.top1)} correct; {summary.headline_split} photos: {percent(metrics.top1)}. "
            "The model knows its training photos much better than new ones.",
            "More, and more varied, training photos help most; then a larger pre-trained Mixer, and stronger augmentation.",
        )
    ]


def _seed(summary: ReportSummary) -> list[str]:
    """Return the option by which another run holds out the same photos."""
    seed = summary.recipe.get("seed", 0)
    return ["--seed", str(seed)] if seed else []


def _on_classes(summary: ReportSummary) -> list[Advice]:
    sizes = np.array(summary.class_sizes)
    if not len(sizes) or not sizes.min():
        return []
    found = []
    smallest, largest = int(sizes.argmin()), int(sizes.argmax())
    is_balanced = "balanced" in (summary.recipe.get("sampler"), summary.recipe.get("class_weights"))
    if sizes.max() > IMBALANCE * sizes.min() and not is_balanced:
        found.append(
            Advice(
                f"“{summary.class_names[largest]}” has {sizes.max():,} training photos, "
                f"“{summary.class_names[smallest]}” {sizes.min():,}.",
                "Show the photos of rare classes more often.",
                _command(summary, _training_command(summary), IMBALANCE_REMEDY),
            )
        )
    num_few = int((sizes < FEW_PER_CLASS).sum())
    if num_few:
        found.append(
            Advice(
                f"{num_few:,} of {len(sizes):,} classes have fewer than {FEW_PER_CLASS} training photos "
                f"(“{summary.class_names[smallest]}” has {sizes.min():,}).",
                "Add photos to these classes first.",
            )
        )
    return found


def _on_start(summary: ReportSummary) -> list[Advice]:
    transfer, model = summary.recipe.get("transfer") or {}, summary.recipe.get("model") or {}
    checkpoint, size = transfer.get("checkpoint"), (model.get("image_size") or [0])[0]
    if size >= _SMALL_IMAGE:
        return []
    start = "random weights" if checkpoint is None else f"“{checkpoint}”"
    return [
        Advice(
            f"This is a small Mixer of {size} pixels that started from {start}.",
            "A Mixer pre-trained on ImageNet-21k at 224 pixels is far stronger; it is a download, and slower.",
            _command(summary, "finetune", "--quality", "balanced"),
        )
    ]


def _command(summary: ReportSummary, name: str, *words: str | Path) -> str:
    return absolute_command(name, summary.source, *summary.data_options, *words)


def _training_command(summary: ReportSummary) -> str:
    return "train" if (summary.recipe.get("transfer") or {}).get("checkpoint") is None else "finetune"


def _on_labels(summary: ReportSummary) -> list[Advice]:
    metrics = summary.headline
    assert metrics is not None
    off_diagonal = metrics.confusion * (1 - np.eye(len(metrics.confusion), dtype=np.int64))
    row, column = np.unravel_index(int(off_diagonal.argmax()), off_diagonal.shape)
    num_wrong = int(off_diagonal.sum())
    if num_wrong < 10 or off_diagonal[row, column] < 0.15 * num_wrong or summary.stopped is not None:
        return []  # `clean` needs a finished run
    truth, prediction = summary.class_names[row], summary.class_names[column]
    return [
        Advice(
            f"{int(off_diagonal[row, column]):,} of {num_wrong:,} mistakes are “{truth}” taken for “{prediction}”.",
            "Look at these photos: their labels may be wrong, or the two classes hard to tell apart even for people. "
            "This command lists the photos whose labels are probably wrong, and changes nothing.",
            absolute_command("clean", summary.directory),
        )
    ]


def _on_scoring(summary: ReportSummary) -> list[Advice]:
    metrics = summary.headline
    assert metrics is not None
    if metrics.num_examples >= _FEW_SCORED:
        return []
    low, high = metrics.top1_interval
    return [
        Advice(
            f"Only {metrics.num_examples:,} photos were scored: the true accuracy may be anywhere from {percent(low)} to "
            f"{percent(high)}.",
            "Set a few hundred labelled photos aside as a test split.",
        )
    ]
