"""The report of a finished run: its content is collected here, and `allmlp.report` writes it."""

import contextlib
import shlex
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.config import to_dict
from allmlp.data import ImageDataset, command_options, decode, default_split
from allmlp.metrics import Metrics
from allmlp.model import cost, num_parameters
from allmlp.report import Mistake, RunSummary, write_report
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.snapshots.history import TrainingHistory

__all__ = ["write_run_report"]

_NUM_MISTAKES = 24
_NUM_TRAINING_SAMPLES = 32


def write_run_report(
    path: Path,
    recipe: ResolvedRecipe,
    dataset: ImageDataset,
    evaluations: dict[str, Metrics],
    pipeline: InputPipeline,
    environment: dict[str, str],
    history: TrainingHistory,
    *,
    notes: tuple[str, ...],
) -> None:
    """Write plots/ and report.html into the run folder."""
    split = default_split(evaluations)
    photos, captions = _training_sample(pipeline, recipe)
    write_report(
        RunSummary(
            name=path.name,
            recipe=to_dict(recipe),
            environment=environment,
            model=_model_rows(recipe),
            splits=tuple((name, len(part)) for name, part in dataset.splits.items()),
            class_names=dataset.class_names,
            notes=notes,
            results=tuple(history.results),
            best_epoch=history.best_epoch,
            evaluations=evaluations,
            mistakes=_mistakes(dataset, split, evaluations[split], pipeline),
            training_sample=photos,
            training_sample_captions=captions,
            next_commands=(
                f"{shlex.join(['allmlp', 'predict', str(path)])} PHOTO.jpg",
                shlex.join(["allmlp", "evaluate", str(path), dataset.source, *_data_options(dataset)]),
                shlex.join(["allmlp", "inspect", str(path)]),
            ),
        ),
        path,
    )


def _data_options(dataset: ImageDataset) -> list[str]:
    """Return the options with which a command reads the data set as the run did."""
    return command_options(dataset.options) + (["--bad-photos", "skip"] if dataset.skipped else [])


def _model_rows(recipe: ResolvedRecipe) -> dict[str, str]:
    model = recipe.model
    parts = cost(model)
    return {
        "image": f"{model.image_size[0]} × {model.image_size[1]} px, patches of {model.patch_size}: {model.num_tokens} tokens",
        "blocks": str(model.num_blocks),
        "widths": f"C {model.hidden_dim}, D_S {model.tokens_mlp_dim}, D_C {model.channels_mlp_dim}",
        "parameters": f"{num_parameters(model):,}",
        "GFLOPs per image": f"{2e-9 * sum(part.multiply_adds for part in parts):.3g}",
        "GELU": model.gelu,
    }


def _mistakes(dataset: ImageDataset, split: str, metrics: Metrics, pipeline: InputPipeline) -> tuple[Mistake, ...]:
    part = dataset.splits[split]
    wrong = np.flatnonzero(metrics.predictions != part.labels)
    worst = wrong[np.argsort(-metrics.confidences[wrong], kind="stable")][:_NUM_MISTAKES]
    return tuple(
        Mistake(
            sample_id=part.sample_ids[index],
            photo=pipeline.preprocessing.resize(decode(part.read(index), name=part.where(index))),
            truth=dataset.class_names[part.labels[index]],
            prediction=dataset.class_names[metrics.predictions[index]],
            confidence=float(metrics.confidences[index]),
        )
        for index in map(int, worst)
    )


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
