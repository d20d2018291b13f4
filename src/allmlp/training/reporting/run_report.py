"""The report of a run: its content is collected here, and `allmlp.report` writes it."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.config import to_dict
from allmlp.data import ImageDataset, absolute_source, command_options, default_split
from allmlp.io.path_problem import check_regular
from allmlp.metrics import Metrics
from allmlp.model import MixerConfig
from allmlp.report import (
    ReportSummary,
    Stopped,
    TrainingScore,
    absolute_command,
    choose_galleries,
    model_rows,
    write_report,
)
from allmlp.runs.layout import RunLayout
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.reporting.class_sizes import class_sizes
from allmlp.training.reporting.out_of_fold import CROSS_VALIDATION, held_out_once
from allmlp.training.snapshots.history import TrainingHistory

__all__ = ["first_environment", "run_summary", "stopped_at", "with_photos", "write_run_report"]

_NUM_TRAINING_SAMPLES = 32


def write_run_report(
    path: Path,
    recipe: ResolvedRecipe,
    dataset: ImageDataset,
    evaluations: Mapping[str, Metrics],
    pipeline: InputPipeline,
    environment: Mapping[str, str],
    history: TrainingHistory,
    *,
    training_score: TrainingScore | None = None,
    stopped: Stopped | None = None,
) -> None:
    """Write plots/ and report.html of a run in progress or just finished into its folder."""
    shown = first_environment(path) or dict(environment)  # the first, as `allmlp report` shows it
    command = shown.get("command", environment["command"])
    if command != environment["command"]:
        shown = {"command": command, "resumed with": environment["command"], **_without_command(environment)}
    summary = dataclasses.replace(
        run_summary(path, recipe, dataset, environment=shown),
        results=tuple(history.results),
        best_epoch=history.best_epoch,
        evaluations=evaluations,
        training_score=training_score,
        stopped=stopped,
    )
    write_report(with_photos(summary, dataset, pipeline, recipe), path)


def run_summary(
    path: Path, recipe: ResolvedRecipe, dataset: ImageDataset, *, environment: Mapping[str, str]
) -> ReportSummary:
    """Return what a run's page shows about its recipe, model and photos; results and scores are still missing."""
    model = recipe.model
    assert isinstance(model, MixerConfig)
    return ReportSummary(
        name=path.name or str(path.absolute()),
        recipe=to_dict(recipe),
        environment=environment,
        model=model_rows(model),
        source=absolute_source(dataset),
        data_options=tuple(_data_options(dataset)),
        directory=path.absolute(),
        splits=tuple((name, len(part)) for name, part in dataset.splits.items()),
        class_names=dataset.class_names,
        class_sizes=class_sizes(dataset),
        notes=dataset.notes,
        next_commands=(
            f"{absolute_command('predict', path)} PHOTO.jpg",
            _evaluate_command(path, dataset),
            absolute_command("inspect", path),
        ),
    )


def _evaluate_command(path: Path, dataset: ImageDataset) -> str:
    """Return the command whose page has what this one lacks: maps of classes take up to 5,000 forward passes."""
    page = ("--report", "evaluation.html")
    if default_split(dataset.splits) == "train":  # the run has learned all of them: their score would be too high
        return f"{absolute_command('evaluate', path)} OTHER_PHOTOS {' '.join(page)}"
    return absolute_command("evaluate", path, absolute_source(dataset), *_data_options(dataset), *page)


def with_photos(
    summary: ReportSummary, dataset: ImageDataset, pipeline: InputPipeline, recipe: ResolvedRecipe
) -> ReportSummary:
    """Return the summary with the photos of its page: mistakes and the like, and augmented training photos."""
    images, captions = _training_sample(pipeline, recipe)
    summary = dataclasses.replace(summary, training_sample=images, training_sample_captions=captions)
    if not summary.evaluations:
        return summary
    split = default_split(summary.evaluations)
    photos = held_out_once(dataset, recipe) if split == CROSS_VALIDATION else dataset.splits[split]
    galleries = choose_galleries(photos, summary.evaluations[split], dataset.class_names)
    return dataclasses.replace(summary, galleries=galleries)


def stopped_at(path: Path, recipe: ResolvedRecipe, results: list[dict[str, float]], *, how: str) -> Stopped:
    """Return how far an unfinished run has come, and the command that resumes it."""
    return Stopped(
        epoch=results[-1]["epoch"] if results else 0,
        num_epochs=recipe.num_epochs,
        how=how,
        resume=absolute_command("train", "--resume", path),
    )


def first_environment(path: Path) -> dict[str, str]:
    """Return environment.json, which describes the first session of a run; empty if it cannot be read."""
    layout = RunLayout(path)
    try:
        check_regular(layout.environment)
        values = json.loads(layout.environment.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in values.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _without_command(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != "command"}


def _data_options(dataset: ImageDataset) -> list[str]:
    """Return the options with which a command reads the data set as the run did."""
    return command_options(dataset.options) + (["--bad-photos", "skip"] if dataset.skipped else [])


def _training_sample(pipeline: InputPipeline, recipe: ResolvedRecipe) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the first images of the first step exactly as the model saw them, with captions of their label shares."""
    with contextlib.closing(pipeline.batches(first_step=0, num_steps=1)) as batches:
        batch = next(batches)
    pixels = batch.images[:_NUM_TRAINING_SAMPLES].cpu().numpy().transpose(0, 2, 3, 1)
    pixels = (pixels * np.array(recipe.data.std) + np.array(recipe.data.mean)) * 255.0
    captions = []
    for row in batch.labels[:_NUM_TRAINING_SAMPLES].cpu().numpy():
        shares = [(pipeline.class_names[index], row[index]) for index in np.argsort(-row, kind="stable")[:2]]
        captions.append(
            " + ".join(f"{share:.0%} {name}" if share < 0.995 else name for name, share in shares if share >= 0.005)
        )
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8), tuple(captions)
