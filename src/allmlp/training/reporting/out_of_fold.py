"""The predictions of cross-validation, which stand for those on a validation split."""

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint
from allmlp.data import Batch, ImageDataset, Split, evaluation_batches, fold_of_photos, resized_images
from allmlp.errors import ConfigError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.inference import eager_forward, open_model
from allmlp.io.path_problem import check_regular
from allmlp.metrics import Forward, Metrics, closeness, fit_closeness, score_batches
from allmlp.training.length.fold_budget import FoldLength
from allmlp.training.recipe.recipe import Recipe

__all__ = [
    "CROSS_VALIDATION",
    "MAX_PHOTOS_FOR_UNKNOWN",
    "FoldPredictions",
    "OutOfFold",
    "closeness_of_fold",
    "held_out_once",
    "predict_split",
    "read_fold",
]

_MAX_BYTES = 1 << 30  # of a fold's predictions

MAX_PHOTOS_FOR_UNKNOWN = 2000
"""The most photos, spread evenly over a split, from which the features of known photos are described."""

CROSS_VALIDATION = "cross-validation"
"""The name of its scores among those of the splits."""


@dataclass(frozen=True)
class OutOfFold:
    """The predictions of cross-validation: each photo is predicted by a model that did not train on it or a copy of it.

    Attributes:
        split: the n photos that were held out once.
        logits: float32 (n, K), at temperature 1.
        num_folds: the number of models.
        closeness: float64 (n,), of each photo's features to those of the photos on which its model was trained; None if a fold
            was predicted by a version that did not compute it.
        lengths: of the runs of the folds; empty if a fold was trained by a version that did not save it.
    """

    split: Split
    logits: NDArray[np.float32]
    num_folds: int
    closeness: NDArray[np.float64] | None = None
    lengths: tuple[FoldLength, ...] = ()

    def metrics(self, class_names: tuple[str, ...], *, temperature: float | None) -> Metrics:
        """Return the scores; see `score_batches`."""
        labels = np.eye(len(class_names), dtype=np.float32)[self.split.labels]
        batch = Batch(self.logits, labels, np.ones(len(labels), np.bool_))
        metrics = score_batches(lambda logits: logits, [batch], class_names, temperature=temperature)
        return replace(metrics, num_folds=self.num_folds)


def held_out_once(dataset: ImageDataset, recipe: Recipe) -> Split:
    """Return the training photos that the folds of a run hold out, each of them once."""
    folds = fold_of_photos(dataset, num_folds=recipe.data.folds, seed=recipe.seed)
    return dataset.splits["train"].subset(np.flatnonzero(folds >= 0))


def predict_split(checkpoint: Checkpoint, split: Split, *, device: str) -> NDArray[np.float32]:
    """Return the logits (n, K) of the photos of a split, in their order."""
    return _rows(checkpoint, split, eager_forward(checkpoint, device=device))


def closeness_of_fold(checkpoint: Checkpoint, fold: ImageDataset, *, device: str) -> NDArray[np.float64]:
    """Return the closeness (n,) of the photos that a fold held out to those on which its model was trained, by its features.

    The model has pulled its training photos together, so that the others are further away, as new photos will be.
    """
    forward = open_model(checkpoint, backend="eager", device=device, output="features").forward
    trained = fold.splits["train"]
    sampled = trained.subset(np.unique(np.linspace(0, len(trained) - 1, MAX_PHOTOS_FOR_UNKNOWN).round()))
    return closeness(
        _rows(checkpoint, fold.splits["validation"], forward), fit_closeness(_rows(checkpoint, sampled, forward))
    )


def _rows(checkpoint: Checkpoint, split: Split, forward: Forward) -> NDArray[np.float32]:
    """Return the rows (n, ...) of `forward` for the photos of a split, in their order."""
    images = resized_images(split, checkpoint.preprocessing, num_workers=num_decoding_threads())
    num_classes = len(checkpoint.class_names)
    batches = evaluation_batches(images, split.labels, checkpoint.preprocessing, num_classes=num_classes)
    return np.concatenate([forward(batch.images)[batch.mask] for batch in batches])


class FoldPredictions(NamedTuple):
    """What cross-validation saves of a fold: the sample IDs that it held out, their logits (n, K) at temperature 1, and, if the
    version saved them, the closeness (n,) of their features to those of its training photos and the length of its run."""

    sample_ids: tuple[str, ...]
    logits: NDArray[np.float32]
    closeness: NDArray[np.float64] | None
    length: FoldLength | None = None


def read_fold(path: Path) -> FoldPredictions:
    """Return what cross-validation saved of a fold.

    Raises:
        ConfigError: the file cannot be read, or is not what cross-validation saves.
    """
    try:
        check_regular(path)
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("the file is too large")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            sample_ids = json.loads(arrays["sample_ids"].tobytes())
            logits: NDArray[np.float32] = arrays["logits"]
            scores: NDArray[np.float64] | None = arrays.get("closeness")
            length = _length(json.loads(arrays["length"].tobytes())) if "length" in arrays else None
    except (OSError, EOFError, ValueError, TypeError, LookupError, zipfile.BadZipFile, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Delete it to train this fold again.") from error
    is_expected = logits.ndim == 2 and logits.dtype == np.float32 and np.isfinite(logits).all()
    is_named = isinstance(sample_ids, list) and all(isinstance(sample_id, str) for sample_id in sample_ids)
    is_close = scores is None or (
        scores.shape == logits.shape[:1] and scores.dtype == np.float64 and np.isfinite(scores).all()
    )
    if not is_expected or not is_named or not is_close or len(sample_ids) != len(logits):
        raise ConfigError(f"{path}: not the predictions of this fold. Delete it to train the fold again.")
    return FoldPredictions(tuple(sample_ids), logits, scores, length)


def _length(values: Any) -> FoldLength:
    revisions, minutes_needed = values
    pairs = tuple((int(step), int(num_steps)) for step, num_steps in revisions)
    return FoldLength(pairs, None if minutes_needed is None else float(minutes_needed))
