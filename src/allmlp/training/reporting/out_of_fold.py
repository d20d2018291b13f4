"""The predictions of cross-validation, which stand for those on a validation split."""

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint
from allmlp.data import Batch, ImageDataset, Split, evaluation_batches, fold_of_photos, resized_images
from allmlp.errors import ConfigError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.inference import eager_forward
from allmlp.io.path_problem import check_regular
from allmlp.metrics import Metrics, score_batches
from allmlp.training.recipe.recipe import Recipe

__all__ = ["CROSS_VALIDATION", "OutOfFold", "held_out_once", "predict_split", "read_fold"]

_MAX_BYTES = 1 << 30  # of a fold's predictions

CROSS_VALIDATION = "cross-validation"
"""The name of its scores among those of the splits."""


@dataclass(frozen=True)
class OutOfFold:
    """The predictions of cross-validation: each photo is predicted by a model that did not train on it or a copy of it.

    Attributes:
        split: the n photos that were held out once.
        logits: float32 (n, K), at temperature 1.
        num_folds: the number of models.
    """

    split: Split
    logits: NDArray[np.float32]
    num_folds: int

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
    num_classes = len(checkpoint.class_names)
    images = resized_images(split, checkpoint.preprocessing, num_workers=num_decoding_threads())
    batches = evaluation_batches(images, split.labels, checkpoint.preprocessing, num_classes=num_classes)
    forward = eager_forward(checkpoint, device=device)
    return np.concatenate([forward(batch.images)[batch.mask] for batch in batches])


def read_fold(path: Path) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Return the sample IDs that a fold held out, and their logits (n, K) at temperature 1.

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
    except (OSError, EOFError, ValueError, TypeError, LookupError, zipfile.BadZipFile, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Delete it to train this fold again.") from error
    is_expected = logits.ndim == 2 and logits.dtype == np.float32 and np.isfinite(logits).all()
    is_named = isinstance(sample_ids, list) and all(isinstance(sample_id, str) for sample_id in sample_ids)
    if not is_expected or not is_named or len(sample_ids) != len(logits):
        raise ConfigError(f"{path}: not the predictions of this fold. Delete it to train the fold again.")
    return tuple(sample_ids), logits
