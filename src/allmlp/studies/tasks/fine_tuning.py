"""Fine-tuning on a task by the paper's rules: a learning rate is chosen, then all training photos are trained on."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from allmlp.checkpoints import Checkpoint, load_checkpoint
from allmlp.data import Augmentation, ImageDataset, open_dataset, read_label_sets
from allmlp.errors import AllmlpError, DataError, DivergedError
from allmlp.evaluation import evaluate
from allmlp.io.display import Report, bullets, counted
from allmlp.model import MixerConfig
from allmlp.recipes import load_recipe
from allmlp.studies.study import Arm, ArmContext, StudyOptions
from allmlp.studies.tasks.division import TaskPhotos, divided
from allmlp.studies.tasks.sources import find_label_sets, find_tasks
from allmlp.studies.tasks.task import Task
from allmlp.training import (
    NoProgress,
    Recipe,
    SweepRun,
    TrainResult,
    TransferConfig,
    train,
    train_sweep,
    with_learning_rate,
)

__all__ = ["check_tasks", "fine_tune", "num_parts", "task_recipe"]

_SECONDS_BETWEEN_LINES = 60.0
# Activations of the part of a batch that is computed at once. The step is the same, up to rounding, however it is divided.
_MAX_ACTIVATION_BYTES = {"cpu": 1e9}
_MAX_ACTIVATION_BYTES_OF_A_GPU = 8e9


def task_recipe(task: Task, checkpoint: Checkpoint, source: str, *, num_steps: int, seed: int, device: str) -> Recipe:
    """Return recipe finetune_paper for a task: its number of steps, its augmentation, and the crop of the image size.

    Photos are scaled as the checkpoint's pre-processing says: for the authors' weights, as the recipe does.
    """
    recipe = load_recipe("finetune_paper")
    sides = checkpoint.config.image_size
    image_size = (2 * sides[0], 2 * sides[1]) if task.has_large_images else None
    own = checkpoint.preprocessing
    pixels: dict[str, Any] = {} if own.law == "vit_jax" else {"law": own.law, "interpolation": own.interpolation}
    data = dataclasses.replace(
        recipe.data,
        **pixels,
        fit="squash" if task.squashed else recipe.data.fit,
        # Without random crops, the whole photo is seen, in training and afterwards.
        crop_fraction=recipe.data.crop_fraction if task.crops else 1.0,
    )
    augmentation = Augmentation(flip=task.flips)
    if task.crops:  # any crop of 224 of 256 pixels is possible by shifts of up to 16, a fourteenth of the image
        pad_pixels = max(1, round(min(image_size or sides) / 14))
        augmentation = dataclasses.replace(augmentation, crop="pad", pad_pixels=pad_pixels)
    config = dataclasses.replace(checkpoint.config, image_size=image_size or sides)
    return dataclasses.replace(
        recipe,
        num_epochs=0,
        num_steps=num_steps,
        seed=seed,
        best_by="last",  # as in the authors' code
        accumulation=num_parts(config, recipe.batch_size, device=device),
        data=data,
        augmentation=augmentation,
        transfer=TransferConfig(checkpoint=source, image_size=image_size),
    )


def num_parts(config: MixerConfig, batch_size: int, *, device: str) -> int:
    """Return in how many parts a batch is computed, a power of two, so that its activations do not fill the memory.

    Per token and block, the norms, the inputs of both MLPs and their hidden layers, before and after the GELU, are kept.
    """
    per_block = 8 * config.num_tokens * config.hidden_dim + 2 * config.num_tokens * config.channels_mlp_dim
    per_block += 2 * config.hidden_dim * config.tokens_mlp_dim
    bytes_per_image = 4 * per_block * config.num_blocks
    most = _MAX_ACTIVATION_BYTES.get(device, _MAX_ACTIVATION_BYTES_OF_A_GPU)
    parts = max(1, math.ceil(batch_size * bytes_per_image / most))
    return min(batch_size, 1 << (parts - 1).bit_length())


def fine_tune(tasks: Mapping[str, Task], arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    """Fine-tune on the task of an arm and return its figures. Interrupted, it continues from the arm's folder.

    One training per learning rate, compared by the top-1 of their last weights on photos that are held out; then one with
    the best rate on all training photos, which is scored once on the test photos.
    Where training diverges at every rate, or in the end, "top1" is None, and "diverged" says why.

    Raises:
        DataError: unusable photos or label sets.
        CheckpointError: an unusable checkpoint.
    """
    settings, task = arm.settings, tasks[arm.settings["task"]]
    checkpoint = load_checkpoint(settings["checkpoint"])
    photos, label_sets = _opened(task, tasks, context.options)
    recipe = task_recipe(
        task,
        checkpoint,
        settings["checkpoint"],
        num_steps=settings["num_steps"],
        seed=arm.seed,
        device=context.device,
    )
    try:
        runs, last = _trained(recipe, task, photos, context)
    except DivergedError as error:  # the other tasks go on
        context.report(f"  {error}")
        return {"top1": None, "diverged": str(error)}
    figures = {
        **_figures(last, photos),
        "learning_rate": runs[0].learning_rate,
        "rates": [{"learning_rate": run.learning_rate, "held_out_top1": run.top1} for run in runs],
        "initialised_from": checkpoint.source,
    }
    if label_sets is not None:
        real = evaluate(last.directory, photos.last, split="test", labels=label_sets, device=context.device)
        figures |= {"real_top1": real.top1, "num_real": real.num_examples}
    return figures


def check_tasks(tasks: Mapping[str, Task], arms: Sequence[Arm], options: StudyOptions) -> None:
    """Open and divide the photos of the tasks of all arms, before hours of training.

    Raises:
        AllmlpError: the photos or label sets of a task are unusable; a DataError if they are those of several.
    """
    problems: dict[str, AllmlpError] = {}
    for name in dict.fromkeys(arm.settings["task"] for arm in arms):
        try:
            _opened(tasks[name], tasks, options)
        except AllmlpError as error:
            problems[name] = error
    if len(problems) == 1:
        raise next(iter(problems.values()))
    if problems:
        lines = bullets(f"{name}: {error}" for name, error in problems.items())
        raise DataError(f"{len(problems)} tasks cannot be used:\n{lines}")


def _opened(task: Task, tasks: Mapping[str, Task], options: StudyOptions) -> tuple[TaskPhotos, Path | None]:
    """Return the photos of a task, and the file of ReaL's labels if it has one."""
    photos = divided(task, open_dataset(find_tasks(options.data, list(tasks))[task.name]))
    label_sets = find_label_sets(options.data) if task.name == "imagenet" else None
    if label_sets is not None:
        _check_label_sets(label_sets, photos.last)
    return photos, label_sets


def _trained(recipe: Recipe, task: Task, photos: TaskPhotos, context: ArmContext) -> tuple[list[SweepRun], TrainResult]:
    """Return the trainings at each rate, the best first, and the last one on all training photos."""
    num_trainings, num_steps = len(task.learning_rates) + 1, recipe.num_steps or 0
    context.report(
        f"  {counted(num_trainings, 'training')} of {counted(num_steps, 'step')}: "
        f"{num_trainings * num_steps * recipe.batch_size:,} photos are seen, of {len(photos.last.splits['train']):,}"
    )
    progress = _Lines(context.report)
    runs = train_sweep(
        recipe,
        photos.choice,
        context.folder / "rates",
        task.learning_rates,
        device=context.device,
        progress=progress,
        resume=True,
    )
    if runs[0].top1 is None:
        raise DivergedError(
            f"task {task.name}: training diverged at every learning rate of the paper ("
            f"{', '.join(f'{rate:g}' for rate in task.learning_rates)}). These rates may be too high for the checkpoint."
        )
    best = runs[0].learning_rate
    context.report(f"  learning rate {best:g} is the best on held-out photos; now all training photos are trained on")
    chosen, folder = with_learning_rate(recipe, best), context.folder / "last"
    return runs, train(chosen, photos.last, folder, device=context.device, progress=progress, resume=True)


def _figures(last: TrainResult, photos: TaskPhotos) -> dict[str, Any]:
    scores, recipe = last.evaluations["test"], last.recipe
    return {
        "top1": scores.top1,
        "interval": list(scores.top1_interval),
        "num_train": len(photos.last.splits["train"]),
        "num_held_out": len(photos.choice.splits["validation"]),
        "num_test": scores.num_examples,
        "num_classes": len(photos.last.class_names),
        "is_drawn": photos.is_drawn,
        "image_size": list(recipe.model.image_size),
        "images_per_second": float(f"{(recipe.num_steps or 0) * recipe.batch_size / last.seconds:.4g}"),
    }


def _check_label_sets(path: Path, dataset: ImageDataset) -> None:
    """Refuse unusable label sets."""
    numbers = {name: index for index, name in enumerate(dataset.class_names)}
    read_label_sets(path, dataset.splits["test"].sample_ids, numbers, num_classes=len(numbers))


class _Lines(NoProgress):
    """Reports the trainings of a task by a line a minute."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._total, self._last = 0, time.monotonic()

    def message(self, text: str) -> None:
        if text.startswith(("\nlearning rate", "diverged")):
            self._report(f"  {text.strip()}")

    def start(self, total_steps: int) -> None:
        self._total = total_steps

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None:
        if time.monotonic() - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = time.monotonic()
        left = f"{seconds_left / 60:.0f} min left"
        self._report(f"  step {step:,} of {self._total:,}: loss {loss:.3f}, {images_per_second:.0f} photos/s, {left}")
