"""Scores of a run's best checkpoint in float32."""

import contextlib
from collections.abc import Sequence

import numpy as np

from allmlp.checkpoints import Checkpoint, UnknownRule
from allmlp.data import ImageDataset
from allmlp.errors import DataError
from allmlp.evaluation import unknown_rule
from allmlp.inference import eager_forward, open_model
from allmlp.metrics import Metrics, score_batches
from allmlp.report import TrainingScore
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.length.run_plan import MAX_TRAINING_PHOTOS
from allmlp.training.reporting.out_of_fold import CROSS_VALIDATION, MAX_PHOTOS_FOR_UNKNOWN, OutOfFold

__all__ = ["fit_unknown_threshold", "score_splits", "score_training_photos"]

# With fewer photos a fitted temperature would be mostly noise: with 30, half of them right, its standard error is a fifth.
_MIN_PHOTOS_FOR_TEMPERATURE = 30


def score_splits(
    checkpoint: Checkpoint,
    pipeline: InputPipeline,
    dataset: ImageDataset,
    *,
    device: str,
    names: Sequence[str] = ("validation", "test"),
    out_of_fold: OutOfFold | None = None,
) -> dict[str, Metrics]:
    """Score the validation split, on which the temperature is fitted, and the test split, if any, with that temperature.

    The predictions of cross-validation stand for a validation split.
    """
    forward = eager_forward(checkpoint, device=device)
    validation = dataset.splits.get("validation") if out_of_fold is None else out_of_fold.split
    is_enough = validation is not None and len(validation) >= _MIN_PHOTOS_FOR_TEMPERATURE
    temperature = None if is_enough else 1.0
    evaluations: dict[str, Metrics] = {}
    if out_of_fold is not None:
        evaluations[CROSS_VALIDATION] = out_of_fold.metrics(dataset.class_names, temperature=temperature)
        temperature = evaluations[CROSS_VALIDATION].temperature
    for name in (name for name in names if name in dataset.splits):
        batches = pipeline.evaluation_batches(name)
        evaluations[name] = score_batches(forward, batches, dataset.class_names, temperature=temperature)
        temperature = evaluations[name].temperature
    return evaluations


def fit_unknown_threshold(
    checkpoint: Checkpoint,
    pipeline: InputPipeline,
    dataset: ImageDataset,
    *,
    device: str,
    has_new_features: bool,
    out_of_fold: OutOfFold | None = None,
) -> UnknownRule | None:
    """Fit the threshold of "unknown" on at most 2,000 validation photos; None if there are too few.

    Without a validation split, training photos stand for it. If the features were not trained (`has_new_features` False),
    they are as far from each other as from new photos. Otherwise the threshold is that of cross-validation: there, each photo
    was compared with the photos on which the model of its fold was trained, as new photos will be with those of this model.
    """
    name = "validation" if "validation" in dataset.splits else "train"
    left_out = out_of_fold.closeness if out_of_fold is not None and has_new_features else None
    if name == "train" and has_new_features and left_out is None:
        return None
    forward = open_model(checkpoint, backend="eager", device=device, output="features").forward
    limit = MAX_PHOTOS_FOR_UNKNOWN if len(dataset.splits[name]) > MAX_PHOTOS_FOR_UNKNOWN else None
    batches = pipeline.evaluation_batches(name, limit=limit)
    rows = [forward(batch.images)[np.asarray(batch.mask, bool)] for batch in batches]
    return unknown_rule(np.concatenate(rows), left_out=left_out) if rows else None


def score_training_photos(checkpoint: Checkpoint, pipeline: InputPipeline, *, device: str) -> TrainingScore | None:
    """Score training photos without augmentation, at most 1,000, spread evenly; None if they can no longer be read."""
    forward = eager_forward(checkpoint, device=device)
    with contextlib.suppress(DataError):
        batches = pipeline.evaluation_batches("train", limit=MAX_TRAINING_PHOTOS)
        metrics = score_batches(forward, batches, pipeline.class_names)
        return TrainingScore(top1=metrics.top1, num_photos=metrics.num_examples)
    return None
