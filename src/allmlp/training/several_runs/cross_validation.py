"""Cross-validation: one more run per fold, and its predictions for the photos that it did not train on."""

import io
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, load_checkpoint
from allmlp.data import ImageDataset, Split, fold_datasets, fold_of_photos
from allmlp.errors import ConfigError
from allmlp.io.atomic_write import write_bytes
from allmlp.runs.layout import RunLayout
from allmlp.training.distributed.process_group import timeout_seconds
from allmlp.training.length.fold_budget import FoldBudget
from allmlp.training.length.run_plan import MAX_TRAINING_PHOTOS
from allmlp.training.loop import FoldStart, Unscored
from allmlp.training.progress import NoProgress, Progress
from allmlp.training.recipe.folds import recipe_of_fold
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.reporting.out_of_fold import (
    FoldPredictions,
    OutOfFold,
    closeness_of_fold,
    predict_split,
    read_fold,
)

__all__ = ["AfterStart", "cross_validate"]

TrainFold = Callable[[ResolvedRecipe, ImageDataset, Path, Progress, FoldStart], Unscored]


def cross_validate(run: Path, trained: Unscored, train: TrainFold, *, device: str, progress: Progress) -> OutOfFold:
    """Train a run on each fold of the training photos of a run, and return the predictions for all of them.

    The runs have the recipe of the run in the folder `run`. Each one's predictions are saved there, and the fold's own
    folder is removed; a cross-validation that was stopped goes on where it stopped. `train` trains a run or continues it.

    Raises:
        DataError: too few photos.
        ConfigError: saved predictions that cannot be read, or are of other photos.
        CheckpointError: the copy of the initial checkpoint cannot be read.
    """
    layout, recipe, dataset = RunLayout(run), trained.recipe, trained.dataset
    num_folds = recipe.data.folds
    folds = fold_of_photos(dataset, num_folds=num_folds, seed=recipe.seed)
    missing = [number for number in range(num_folds) if not layout.fold_predictions(number + 1).exists()]
    initial = _initial(layout) if missing else None
    budget = _budget(trained, num_missing=len(missing))
    predictions = []
    for number, fold in enumerate(fold_datasets(dataset, folds)):
        saved = layout.fold_predictions(number + 1)
        held_out = fold.splits["validation"]
        if number in missing:
            progress.message(f"fold    {number + 1} of {num_folds}: {len(held_out):,} photos held out")
            known = None if trained.features is None else trained.features.of(np.flatnonzero(folds != number))
            start = FoldStart(None if budget is None else budget.minutes_of_fold(), initial, known)
            num_fold_photos = len(fold.splits["train"])
            fold_recipe = recipe_of_fold(recipe, number, num_photos=len(folds), num_fold_photos=num_fold_photos)
            quiet = AfterStart(progress, prefix="warning")
            fold_run = train(fold_recipe, fold, layout.fold_run(number + 1), quiet, start)
            started = time.monotonic()
            if trained.is_first:
                _write(saved, _predict(layout.fold_run(number + 1), fold, fold_run, device=device))
            else:
                _wait_for(saved)
            if budget is not None:
                budget.fold_ended(scoring_seconds=time.monotonic() - started)
        predictions.append(_read(saved, held_out, num_classes=len(dataset.class_names)))
        if trained.is_first:
            shutil.rmtree(layout.fold_run(number + 1), ignore_errors=True)
    if trained.is_first:
        shutil.rmtree(layout.fold_initial, ignore_errors=True)
    return _joined(dataset, folds, predictions)


def _initial(layout: RunLayout) -> Checkpoint | None:
    """Return the checkpoint from which the run started; None if it kept no copy, as runs from random weights."""
    return load_checkpoint(layout.fold_initial) if layout.fold_initial.is_dir() else None


def _budget(trained: Unscored, *, num_missing: int) -> FoldBudget | None:
    """Return what shares the time that the recipe allows; a fold of an earlier session counts as much as the run itself."""
    minutes, num_folds = trained.recipe.max_minutes, trained.recipe.data.folds
    if minutes is None or not num_missing:
        return None
    splits = trained.dataset.splits
    num_photos = len(splits["train"])
    num_end_photos = sum(map(len, splits.values())) + min(num_photos, MAX_TRAINING_PHOTOS)
    return FoldBudget(
        minutes=minutes,
        num_folds=num_missing,
        spent_seconds=(1 + num_folds - num_missing) * (trained.seconds + trained.setup_seconds),
        setup_seconds=trained.setup_seconds,
        end_ratio=num_end_photos / (num_photos + num_photos / num_folds),
    )


def _joined(dataset: ImageDataset, folds: NDArray[np.int64], predictions: Sequence[FoldPredictions]) -> OutOfFold:
    """Return the predictions of all folds in the order of the photos; `folds` (n,) says in which fold each photo is."""
    logits = np.zeros((len(folds), len(dataset.class_names)), np.float32)
    closeness: NDArray[np.float64] | None = np.zeros(len(folds))
    for number, found in enumerate(predictions):
        logits[folds == number] = found.logits
        if closeness is not None and found.closeness is not None:
            closeness[folds == number] = found.closeness
        else:
            closeness = None
    is_held_out = folds >= 0
    lengths = [found.length for found in predictions if found.length is not None]
    return OutOfFold(
        dataset.splits["train"].subset(np.flatnonzero(is_held_out)),
        logits[is_held_out],
        len(predictions),
        None if closeness is None else closeness[is_held_out],
        lengths=tuple(lengths) if len(lengths) == len(predictions) else (),
    )


def _predict(run: Path, fold: ImageDataset, trained: Unscored, *, device: str) -> FoldPredictions:
    """Return what the model of a fold says of the photos that the fold held out.

    If its features are those of the initial checkpoint, they are as close to each other as those of new photos, so that no
    closeness is needed.
    """
    has_new_features = trained.recipe.transfer.trained_blocks != 0
    checkpoint = load_checkpoint(RunLayout(run).checkpoint("best"))
    held_out = fold.splits["validation"]
    return FoldPredictions(
        held_out.sample_ids,
        predict_split(checkpoint, held_out, device=device),
        closeness_of_fold(checkpoint, fold, device=device) if has_new_features else None,
        trained.length,
    )


def _wait_for(path: Path) -> None:
    """Wait until this process sees a file that the first one writes."""
    deadline = time.monotonic() + timeout_seconds()
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _write(path: Path, found: FoldPredictions) -> None:
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        "sample_ids": _json_bytes(found.sample_ids),
        "logits": found.logits,
        "length": _json_bytes(found.length),
    }
    if found.closeness is not None:
        arrays["closeness"] = found.closeness
    np.savez(content, **arrays)
    write_bytes(path, content.getvalue())


def _json_bytes(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


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
