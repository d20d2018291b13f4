"""Cross-validation: one more run per fold, and its predictions for the photos that it did not train on."""

import dataclasses
import io
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import load_checkpoint
from allmlp.data import ImageDataset, Split, fold_datasets, fold_of_photos
from allmlp.errors import ConfigError
from allmlp.io.atomic_write import write_bytes
from allmlp.runs.layout import RunLayout
from allmlp.training.distributed.process_group import timeout_seconds
from allmlp.training.progress import NoProgress, Progress
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.reporting.out_of_fold import (
    FoldPredictions,
    OutOfFold,
    closeness_of_fold,
    predict_split,
    read_fold,
)

__all__ = ["AfterStart", "cross_validate"]


def cross_validate(
    run: Path,
    recipe: ResolvedRecipe,
    dataset: ImageDataset,
    train: Callable[[ResolvedRecipe, ImageDataset, Path, Progress], object],
    *,
    device: str,
    progress: Progress,
    is_first: bool,
) -> OutOfFold:
    """Train a run on each fold of the training photos of `dataset`, and return the predictions for all of them.

    The runs have the recipe of the run in the folder `run`. Each one's predictions are saved there, and the fold's own
    folder is removed; a cross-validation that was stopped goes on where it stopped. `train` trains a run or continues it.

    Raises:
        DataError: too few photos.
        ConfigError: saved predictions that cannot be read, or are of other photos.
    """
    layout = RunLayout(run)
    num_folds = recipe.data.folds
    folds = fold_of_photos(dataset, num_folds=num_folds, seed=recipe.seed)
    logits = np.zeros((len(folds), len(dataset.class_names)), np.float32)
    closeness: NDArray[np.float64] | None = np.zeros(len(folds))
    for number, fold in enumerate(fold_datasets(dataset, folds)):
        saved = layout.fold_predictions(number + 1)
        held_out = fold.splits["validation"]
        if not saved.exists():
            progress.message(f"fold    {number + 1} of {num_folds}: {len(held_out):,} photos held out")
            fold_recipe = _of_fold(recipe, num_photos=len(folds), num_fold_photos=len(fold.splits["train"]))
            train(fold_recipe, fold, layout.fold_run(number + 1), AfterStart(progress, prefix="warning"))
            if is_first:
                _write(saved, _predict(layout.fold_run(number + 1), fold, device=device))
            else:
                _wait_for(saved)
        found = _read(saved, held_out, num_classes=len(dataset.class_names))
        logits[folds == number] = found.logits
        if closeness is not None and found.closeness is not None:
            closeness[folds == number] = found.closeness
        else:
            closeness = None
        if is_first:
            shutil.rmtree(layout.fold_run(number + 1), ignore_errors=True)
    is_held_out = folds >= 0
    held_out_once = dataset.splits["train"].subset(np.flatnonzero(is_held_out))
    return OutOfFold(
        held_out_once, logits[is_held_out], num_folds, None if closeness is None else closeness[is_held_out]
    )


def _of_fold(recipe: ResolvedRecipe, *, num_photos: int, num_fold_photos: int) -> ResolvedRecipe:
    """Return the recipe of a fold of a run on `num_photos`: as many steps, on fewer photos.

    With as many epochs, the features of a fold's Mixer would move less far from the initial weights than those of the run, and
    the threshold of "unknown" would reject too many photos. As in the run itself, no photo chooses an epoch: the last weights
    are scored.
    """
    data = dataclasses.replace(recipe.data, folds=0, bad_photos="stop")
    if recipe.max_minutes is not None:
        num_epochs = max(1, round(recipe.num_epochs * num_photos / num_fold_photos))
        minutes = recipe.max_minutes / (1 + recipe.data.folds)
        return dataclasses.replace(recipe, data=data, best_by="last", num_epochs=num_epochs, max_minutes=minutes)
    num_steps = recipe.num_steps_on(num_photos)
    num_epochs = max(1, math.ceil(num_steps * recipe.batch_size / num_fold_photos))
    return dataclasses.replace(recipe, data=data, best_by="last", num_epochs=num_epochs, num_steps=num_steps)


def _predict(run: Path, fold: ImageDataset, *, device: str) -> FoldPredictions:
    """Return what the model of a fold says of the photos that the fold held out."""
    checkpoint = load_checkpoint(RunLayout(run).checkpoint("best"))
    held_out = fold.splits["validation"]
    return FoldPredictions(
        held_out.sample_ids,
        predict_split(checkpoint, held_out, device=device),
        closeness_of_fold(checkpoint, fold, device=device),
    )


def _wait_for(path: Path) -> None:
    """Wait until this process sees a file that the first one writes."""
    deadline = time.monotonic() + timeout_seconds()
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _write(path: Path, found: FoldPredictions) -> None:
    content = io.BytesIO()
    sample_ids = np.frombuffer(json.dumps(found.sample_ids).encode(), np.uint8)
    assert found.closeness is not None
    np.savez(content, sample_ids=sample_ids, logits=found.logits, closeness=found.closeness)
    write_bytes(path, content.getvalue())


def _read(path: Path, split: Split, *, num_classes: int) -> FoldPredictions:
    """Return what `_write` saved for the photos of `split`."""
    found = read_fold(path)
    if found.sample_ids != split.sample_ids or found.logits.shape != (len(split), num_classes):
        raise ConfigError(f"{path}: not the predictions of this fold. Delete it to train the fold again.")
    return found


class AfterStart(NoProgress):
    """Forwards the steps, and the messages after the start that begin with `prefix` or say that something could not be done:
    the run has reported the rest before.
    """

    def __init__(self, progress: Progress, *, prefix: str = "") -> None:
        self._progress = progress
        self._prefix = prefix
        self._is_started = False

    def message(self, text: str) -> None:
        if self._is_started and (text.startswith(self._prefix) or "could not be" in text):
            self._progress.message(text)

    def start(self, total_steps: int) -> None:
        self._is_started = True
        self._progress.start(total_steps)

    def revise(self, total_steps: int) -> None:
        self._progress.revise(total_steps)

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None:
        self._progress.step(step, loss=loss, images_per_second=images_per_second, seconds_left=seconds_left)

    def epoch(self, row: Mapping[str, float]) -> None: ...

    def finish(self) -> None:
        self._progress.finish()
