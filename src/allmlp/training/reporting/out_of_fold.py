"""The predictions of cross-validation, which stand for those on a validation split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Batch, ImageDataset, Split, fold_of_photos
from allmlp.metrics import Metrics, score_batches
from allmlp.training.recipe.recipe import Recipe

__all__ = ["CROSS_VALIDATION", "OutOfFold", "held_out_once"]

CROSS_VALIDATION = "cross-validation"
"""The name of its scores among those of the splits."""


@dataclass(frozen=True)
class OutOfFold:
    """The predictions of cross-validation: each photo is predicted by a model that did not train on it or a copy of it.

    Attributes:
        split: the n photos that were held out once.
        logits: float32 (n, K), at temperature 1.
    """

    split: Split
    logits: NDArray[np.float32]

    def metrics(self, class_names: tuple[str, ...], *, temperature: float | None) -> Metrics:
        """Return the scores; see `score_batches`."""
        labels = np.eye(len(class_names), dtype=np.float32)[self.split.labels]
        batch = Batch(self.logits, labels, np.ones(len(labels), np.bool_))
        return score_batches(lambda logits: logits, [batch], class_names, temperature=temperature)


def held_out_once(dataset: ImageDataset, recipe: Recipe) -> Split:
    """Return the training photos that the folds of a run hold out, each of them once."""
    folds = fold_of_photos(dataset, num_folds=recipe.data.folds, seed=recipe.seed)
    return dataset.splits["train"].subset(np.flatnonzero(folds >= 0))
