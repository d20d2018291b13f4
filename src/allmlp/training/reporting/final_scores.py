"""Scores of a run's best checkpoint in float32."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, UnknownRule
from allmlp.data import Batch, ImageDataset
from allmlp.errors import DataError
from allmlp.evaluation import unknown_rule
from allmlp.inference import eager_forward
from allmlp.metrics import Forward, Metrics, score_batches
from allmlp.report import TrainingScore
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.length.run_plan import MAX_TRAINING_PHOTOS
from allmlp.training.reporting.out_of_fold import CROSS_VALIDATION, OutOfFold

__all__ = ["SplitScores", "score_splits", "score_training_photos"]

# With fewer photos a fitted temperature would be mostly noise: with 30, half of them right, its standard error is a fifth.
_MIN_PHOTOS_FOR_TEMPERATURE = 30


class SplitScores(NamedTuple):
    """The metrics of each split, and the threshold of "unknown" that validation photos give; None if they are too few."""

    evaluations: dict[str, Metrics]
    unknown: UnknownRule | None


def score_splits(
    checkpoint: Checkpoint,
    pipeline: InputPipeline,
    dataset: ImageDataset,
    *,
    device: str,
    names: Sequence[str] = ("validation", "test"),
    out_of_fold: OutOfFold | None = None,
) -> SplitScores:
    """Score the validation split, on which the temperature is fitted, and the test split, if any, with that temperature.

    The threshold of "unknown" is fitted on the validation split, too. The predictions of cross-validation stand for a
    validation split.
    """
    forward = eager_forward(checkpoint, device=device)
    validation = dataset.splits.get("validation") if out_of_fold is None else out_of_fold.split
    is_enough = validation is not None and len(validation) >= _MIN_PHOTOS_FOR_TEMPERATURE
    temperature = None if is_enough else 1.0
    evaluations: dict[str, Metrics] = {}
    known: list[NDArray[np.float32]] = [] if out_of_fold is None else [out_of_fold.logits]
    if out_of_fold is not None:
        evaluations[CROSS_VALIDATION] = out_of_fold.metrics(dataset.class_names, temperature=temperature)
        temperature = evaluations[CROSS_VALIDATION].temperature
    for name in (name for name in names if name in dataset.splits):
        batches = _computed(forward, pipeline.evaluation_batches(name), known if name == "validation" else [])
        evaluations[name] = score_batches(lambda rows: rows, batches, dataset.class_names, temperature=temperature)
        temperature = evaluations[name].temperature
    return SplitScores(evaluations, unknown_rule(np.concatenate(known)) if known else None)


def _computed(forward: Forward, batches: Iterable[Batch], kept: list[NDArray[np.float32]]) -> Iterator[Batch]:
    """Yield batches with the logits in place of the images, and collect those of photos, without padding, in `kept`."""
    for batch in batches:
        logits = forward(batch.images)
        kept.append(logits[np.asarray(batch.mask, bool)])
        yield Batch(logits, batch.labels, batch.mask)


def score_training_photos(checkpoint: Checkpoint, pipeline: InputPipeline, *, device: str) -> TrainingScore | None:
    """Score training photos without augmentation, at most 1,000, spread evenly; None if they can no longer be read."""
    forward = eager_forward(checkpoint, device=device)
    with contextlib.suppress(DataError):
        batches = pipeline.evaluation_batches("train", limit=MAX_TRAINING_PHOTOS)
        metrics = score_batches(forward, batches, pipeline.class_names)
        return TrainingScore(top1=metrics.top1, num_photos=metrics.num_examples)
    return None
