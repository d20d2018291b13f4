"""The report of a run from its folder, at any time: also of a run that was stopped, killed, or is still in training."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import load_checkpoint
from allmlp.data import FileReader, ImageDataset, Split
from allmlp.errors import ConfigError, DataError
from allmlp.hardware.devices import choose_device
from allmlp.io.display import Report, discard
from allmlp.metrics import Metrics
from allmlp.report import ReportSummary, Stopped, TrainingScore, write_page, write_report
from allmlp.runs.layout import RunLayout
from allmlp.runs.predictions import PhotoPrediction, read_predictions
from allmlp.runs.saved_split import read_split
from allmlp.training.distributed.process_group import ONE_PROCESS
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.progress import NoProgress
from allmlp.training.recipe.recipe import Recipe
from allmlp.training.reporting.final_scores import score_splits, score_training_photos
from allmlp.training.reporting.out_of_fold import CROSS_VALIDATION, OutOfFold, held_out_once, read_fold
from allmlp.training.reporting.run_report import first_environment, run_summary, stopped_at, with_photos
from allmlp.training.reporting.stored_results import (
    best_epoch,
    read_metrics,
    read_results,
    require_run,
    run_notes,
    run_state,
)
from allmlp.training.run_folder import decoded_fingerprint
from allmlp.training.stored_run import StoredRun, photos_of_run, stored_digests

__all__ = ["report_run", "stored_evaluations"]

_MAX_LINES = 3  # of a problem with photos, of which there may be thousands

# An unfinished run on its page, by its state.
_HOW = {
    "diverged": "diverged (a loss was not finite)",
    "in training": "is still in training",
    "stopped": "was stopped",
}


def report_run(
    run: str | Path, out: str | Path | None = None, *, device: str = "auto", report: Report = discard
) -> Path:
    """Write the report of a run, finished or not, from its folder; `allmlp report` does the same.

    The scores of a finished run are read from its files. Those of an unfinished run are computed: its best checkpoint so far is
    scored on the validation photos. The test photos are scored only when a run finishes. If the photos can no longer be read,
    the page has everything else.

    Args:
        run: the run folder.
        out: the HTML file; None writes `report.html` and `plots/` in the run folder, as training does.
        device: for scoring: "auto", "cpu", "cuda" or "mps".
        report: receives a line for what is missing.

    Returns:
        The path of the page.

    Raises:
        ConfigError: not a run folder, or a file in it that cannot be read.
        CheckpointError: the best checkpoint cannot be read.
    """
    path = Path(run)
    stored = require_run(path)
    layout, results = RunLayout(path), read_results(path)
    dataset, pipeline, problem = _photos(stored)
    if problem:
        report(problem)
    evaluations = stored_evaluations(path, dataset.class_names, num_folds=stored.recipe.data.folds)
    training_score = _training_score(layout)
    if not evaluations and pipeline is not None and layout.checkpoint("best").is_dir():
        checkpoint, device = load_checkpoint(layout.checkpoint("best")), choose_device(device)
        names = ("validation", "test") if stored.is_finished else ("validation",)
        found = _out_of_fold(stored, dataset)
        evaluations = score_splits(checkpoint, pipeline, dataset, device=device, names=names, out_of_fold=found)
        training_score = training_score or score_training_photos(checkpoint, pipeline, device=device)
    summary = dataclasses.replace(
        run_summary(path, stored.recipe, dataset, environment=first_environment(path)),
        results=tuple(results),
        best_epoch=_best_epoch(results, stored.recipe),
        evaluations=evaluations,
        training_score=training_score,
        notes=run_notes(path, dataset.notes),
        stopped=_stopped(stored, results),
    )
    if pipeline is None:
        summary = dataclasses.replace(summary, notes=(*summary.notes, problem), class_sizes=())
    else:
        summary = with_photos(summary, dataset, pipeline, stored.recipe)
    return _write(summary, path, out)


def _out_of_fold(stored: StoredRun, dataset: ImageDataset) -> OutOfFold | None:
    """Return the predictions of a finished cross-validation; None if there was none, or files of its folds are missing."""
    layout, num_folds = RunLayout(stored.path), stored.recipe.data.folds
    paths = [layout.fold_predictions(number) for number in range(1, num_folds + 1)]
    if not (stored.is_finished and paths and all(path.exists() for path in paths)):
        return None
    logits: dict[str, NDArray[np.float32]] = {}
    for fold in map(read_fold, paths):
        logits |= dict(zip(fold.sample_ids, fold.logits, strict=True))
    split = held_out_once(dataset, stored.recipe)
    if logits.keys() != set(split.sample_ids):
        return None
    return OutOfFold(split, np.stack([logits[name] for name in split.sample_ids]), num_folds)


def _write(summary: ReportSummary, run: Path, out: str | Path | None) -> Path:
    if out is not None:
        return write_page(summary, Path(out))
    write_report(summary, run)
    return RunLayout(run).report


def stored_evaluations(path: Path, class_names: tuple[str, ...], *, num_folds: int = 0) -> dict[str, Metrics]:
    """Return the scores of a finished run by split, from metrics.json and predictions.csv; empty if either is missing.

    `num_folds` is the recipe's.

    Raises:
        ConfigError: a file cannot be read, or the two do not fit each other.
    """
    rows, values = read_predictions(RunLayout(path).predictions), read_metrics(path)
    if rows is None or not values:
        return {}
    index_of = {name: index for index, name in enumerate(class_names)}
    try:
        return {
            split: dataclasses.replace(
                _metrics_of(scores, [row for row in rows if row.split == split], index_of),
                num_folds=num_folds if split == CROSS_VALIDATION else 0,
            )
            for split, scores in values["evaluations"].items()
        }
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{RunLayout(path).predictions}: does not fit metrics.json ({error}). Restore both, or delete this file: then the "
            "photos are scored again."
        ) from error


def _metrics_of(scores: Mapping[str, Any], rows: list[PhotoPrediction], index_of: Mapping[str, int]) -> Metrics:
    return Metrics.from_dict(
        scores,
        truths=np.array([index_of[row.label] if row.label else -1 for row in rows], dtype=np.int64),
        predictions=np.array([index_of[row.prediction] for row in rows], dtype=np.int64),
        confidences=np.array([row.score for row in rows], dtype=np.float32),
    )


def _photos(stored: StoredRun) -> tuple[ImageDataset, InputPipeline | None, str]:
    """Return the photos of a run and their pipeline; without it, only their names, and the reason."""
    layout = RunLayout(stored.path)
    recipe = dataclasses.replace(stored.recipe, data=dataclasses.replace(stored.recipe.data, storage="stream"))
    try:
        dataset = photos_of_run(stored)
        pipeline = InputPipeline(
            recipe,
            dataset,
            ranks=ONE_PROCESS,
            progress=NoProgress(),
            decoded=decoded_fingerprint(layout),
            digests=stored_digests(dataset, stored),
        )
    except DataError as error:
        first, *more = (line.strip() for line in str(error).splitlines())
        reason = " ".join([first, *more[:_MAX_LINES], *(["..."] if len(more) > _MAX_LINES else [])])
        return _names_only(stored), None, f"The photos of this run cannot be read, so this page shows none: {reason}"
    return dataset, pipeline, ""


def _names_only(stored: StoredRun) -> ImageDataset:
    """Return a data set with the names of a run's photos, none of which can be read."""
    layout = RunLayout(stored.path)
    try:
        class_names = tuple(layout.class_names.read_text(encoding="utf-8", errors="surrogateescape").splitlines())
    except OSError as error:
        raise ConfigError(f"{layout.class_names}: cannot be read ({error.strerror or error}). Restore it.") from error
    splits = {
        name: Split(tuple(ids), np.zeros(len(ids), np.int64), FileReader(Path(stored.data), tuple(ids)))
        for name, ids in read_split(layout.split).items()
    }
    return ImageDataset(class_names, splits, stored.data, options=stored.options)


def _training_score(layout: RunLayout) -> TrainingScore | None:
    values = read_metrics(layout.path).get("train")
    try:
        return None if values is None else TrainingScore(**values)
    except TypeError as error:
        raise ConfigError(f"{layout.metrics}: the score on training photos cannot be read ({error}).") from error


def _best_epoch(results: list[dict[str, float]], recipe: Recipe) -> int | None:
    if recipe.best_by == "top1":
        return best_epoch(results)
    rows = [row for row in results if recipe.best_by == "last" or math.isfinite(row["validation_loss"])]
    best = (
        rows[-1]
        if recipe.best_by == "last" and rows
        else min(rows, key=lambda row: row["validation_loss"], default=None)
    )
    return None if best is None else int(best["epoch"])


def _stopped(stored: StoredRun, results: list[dict[str, float]]) -> Stopped | None:
    how = _HOW.get(run_state(stored))
    if how is None:
        return None
    stopped = stopped_at(stored.path, stored.recipe, results, how=how)
    return dataclasses.replace(stopped, resume="") if how.startswith("is still") else stopped
