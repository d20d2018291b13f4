"""Distillation: a teacher's answers become a part of the labels of a training batch."""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from allmlp.checkpoints import Checkpoint, load_checkpoint
from allmlp.errors import CheckpointError, ConfigError
from allmlp.exports import export_kind
from allmlp.inference import RunnableModel, open_model
from allmlp.io.display import escape, summarise
from allmlp.io.file_kinds import sha256_of
from allmlp.training.distributed.consistency import weights_fact
from allmlp.training.recipe.configs import DistillationConfig
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.recipe.source_paths import absolute_source
from allmlp.training.step.batch import TrainingBatch

__all__ = ["Teacher", "taught", "with_teacher"]

Teacher = Callable[[Tensor], Tensor]
"""From augmented images (B, 3, H, W), float32 RGB in 0 to 1, of the size and on the device of the training, to probabilities
(B, K), float32, in the order of the classes of the data."""


def with_teacher(
    recipe: ResolvedRecipe, given: Teacher | None, class_names: Sequence[str], *, device: str
) -> tuple[ResolvedRecipe, Teacher | None]:
    """Return the recipe with the digest of its teacher, and the teacher: the function that is given, or the model it names.

    Raises:
        CheckpointError: the teacher cannot be opened, or lacks a class.
        ConfigError: its digest is not the recipe's, or a function is given and the recipe has no name for it.
    """
    config = recipe.distillation
    if config.teacher is None:
        if given is not None:
            raise ConfigError(
                "A teacher is given, but the recipe names none. Give it a name in distillation.teacher, such as 'ensemble': "
                "the run folder keeps the name, and a resumed run must be given the same function."
            )
        return recipe, None
    if given is not None:
        return recipe, given
    source = absolute_source(config.teacher)
    if export_kind(source) is None:
        checkpoint = load_checkpoint(source)
        model, digest = open_model(checkpoint, device=device), _digest(checkpoint)
    else:
        model, digest = open_model(source, device=device), _digest(Path(source))
    if config.digest not in (None, digest):
        raise ConfigError(
            f"distillation.teacher {escape(source)}: its digest is {digest}, but this run has a teacher with digest "
            f"{config.digest}. Restore that teacher, or start a new run with --out."
        )
    resolved = DistillationConfig(teacher=source, weight=config.weight, digest=digest)
    return dataclasses.replace(recipe, distillation=resolved), _teacher(model, class_names, source)


def taught(
    batches: Generator[TrainingBatch, None, None], teacher: Teacher, recipe: ResolvedRecipe
) -> Generator[TrainingBatch, None, None]:
    """Yield the batches with labels of which the teacher's probabilities are a part.

    Raises:
        CheckpointError: the teacher's answer is not finite, or of another shape than the labels.
    """
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (recipe.data.mean, recipe.data.std))
    with contextlib.closing(batches):
        for batch in batches:
            with torch.no_grad():
                pixels = batch.images * std.to(batch.images) + mean.to(batch.images)
                probabilities = teacher(pixels).to(batch.labels)
            if probabilities.shape != batch.labels.shape or not probabilities.isfinite().all():
                raise CheckpointError(
                    f"distillation.teacher {escape(recipe.distillation.teacher)}: it answered {tuple(probabilities.shape)} "
                    f"values, of which {int(probabilities.isfinite().sum())} are finite, about {len(batch.labels)} images of "
                    f"{batch.labels.shape[1]} classes."
                )
            yield batch._replace(labels=torch.lerp(batch.labels, probabilities, recipe.distillation.weight))


def _teacher(model: RunnableModel, class_names: Sequence[str], source: str) -> Teacher:
    """Return a model as a teacher of some of its classes, by name, with its calibrated probabilities."""
    description = model.description
    rows = description.class_rows(class_names)
    if missing := [name for name in class_names if name not in rows]:
        raise CheckpointError(
            f"distillation.teacher {escape(source)}: it does not know these classes of the photos: "
            f"{summarise(missing, limit=10)}. A teacher answers for all of them."
        )
    columns = [rows[name] for name in class_names]
    preprocessing = description.preprocessing
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (preprocessing.mean, preprocessing.std))

    def probabilities(pixels: Tensor) -> Tensor:
        if pixels.shape[2:] != preprocessing.image_size:
            pixels = F.interpolate(pixels, preprocessing.image_size, mode="bilinear", antialias=True)
        images = (pixels - mean.to(pixels)) / std.to(pixels)
        logits = torch.from_numpy(model.forward(images.cpu().numpy()))[:, columns]
        return F.softmax(logits / description.temperature, dim=1)

    return probabilities


def _digest(source: Checkpoint | Path) -> str:
    """Return the start of the digest of weights, or of a file."""
    if isinstance(source, Checkpoint):
        return next(iter(weights_fact(source).values()))
    return sha256_of(source)[:12]
