"""From what was asked for to a session: everything is checked and read before anything is written."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import torch

from allmlp.checkpoints import STARTER, Checkpoint
from allmlp.config import from_dict, to_dict
from allmlp.data import ImageDataset, hold_out, open_dataset
from allmlp.errors import ConfigError, DataError
from allmlp.hardware.devices import choose_device, is_bfloat16_faster, reuse_freed_memory
from allmlp.model import MixerConfig, num_parameters
from allmlp.runs.layout import RunLayout
from allmlp.runs.saved_split import saved_split
from allmlp.training.distributed.consistency import check_consistent, facts_of
from allmlp.training.distributed.process_group import ProcessGroup, join_ranks
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.progress import LoggingProgress, NoProgress, Progress
from allmlp.training.recipe.initial_checkpoint import load_initial_checkpoint, with_checkpoint
from allmlp.training.recipe.recipe import Recipe
from allmlp.training.run_folder import RunDirectory, decoded_fingerprint, lock_run, refuse_used_folder
from allmlp.training.session import Session
from allmlp.training.stop_signals import StopSignal
from allmlp.training.stored_run import StoredRun, check_same_photos, recipe_to_continue, stored_run

__all__ = ["num_training_photos", "resolved", "setup"]


@contextlib.contextmanager
def setup(
    recipe: Recipe,
    data: str | Path | ImageDataset,
    path: Path,
    *,
    device: str,
    progress: Progress,
    resume: bool,
    stop: StopSignal,
) -> Iterator[Session]:
    """Give the session of a run in the folder `path`, locked against other trainers. For the rest see `train`."""
    with join_ranks(choose_device(device)) as ranks, stop.behind_errors(), contextlib.ExitStack() as stack:
        logged = LoggingProgress(progress if ranks.is_first else NoProgress())
        with ranks.raise_on_all():
            stored = stored_run(path) if resume else None
            recipe, dataset, checkpoint = _checked(recipe, data, path, stored, ranks, logged, resume=resume)
        if ranks.count > 1:
            check_consistent(ranks, facts_of(recipe, dataset, path, stored, checkpoint, device=ranks.device))
        with ranks.raise_on_all():
            _announce(recipe, dataset, checkpoint, ranks, logged)
            feed = InputPipeline(
                recipe,
                dataset,
                ranks=ranks,
                progress=logged,
                decoded=None if stored is None else decoded_fingerprint(RunLayout(path)),
            )
            if ranks.is_first:
                stack.enter_context(lock_run(path, is_new=stored is None, resume=resume))
        run = RunDirectory(path)
        session = Session(recipe, dataset, feed, run, ranks, checkpoint, is_new=stored is None, progress=logged)
        try:
            yield session
        finally:
            session.wait_for_saves()


def _checked(
    recipe: Recipe,
    data: str | Path | ImageDataset,
    path: Path,
    stored: StoredRun | None,
    ranks: ProcessGroup,
    progress: Progress,
    *,
    resume: bool,
) -> tuple[Recipe, ImageDataset, Checkpoint | None]:
    """Return the recipe as resolved, the photos with their validation split, and what a new run begins with."""
    recipe = from_dict(Recipe, to_dict(recipe), where=f"recipe {recipe.name!r}")  # one written in Python is unchecked
    if recipe.batch_size % (ranks.count * recipe.accumulation):
        raise ConfigError(
            f"batch_size {recipe.batch_size} cannot be divided among {ranks.count} processes"
            f"{f' in {recipe.accumulation} parts each' if recipe.accumulation > 1 else ''}: it is the batch of all "
            f"together. The nearest multiple of {ranks.count * recipe.accumulation} will do."
        )
    reuse_freed_memory()
    checkpoint = None
    if stored is None:
        refuse_used_folder(path, resume=resume)
        if recipe.transfer.checkpoint is not None:
            checkpoint = load_initial_checkpoint(recipe.transfer, say=progress.message)
            recipe = with_checkpoint(recipe, checkpoint)
    else:
        recipe = recipe_to_continue(recipe, stored)
    dataset = data if isinstance(data, ImageDataset) else open_dataset(data)
    _refuse_run_among_photos(path, dataset.folder)
    is_divided = "validation" in dataset.splits
    dataset = hold_out(dataset, fraction=recipe.data.holdout, seed=recipe.seed)
    num_training_photos(dataset)
    if stored is not None:
        check_same_photos(dataset, stored)
    recipe = resolved(recipe, dataset, torch.device(ranks.device).type)
    if checkpoint is not None:
        checkpoint = checkpoint.with_new_head(dataset.class_names, bias=recipe.head_bias)
        if not is_divided:
            dataset = dataclasses.replace(dataset, notes=(*dataset.notes, *_notes_on_seen(recipe, dataset)))
    return recipe, dataset, checkpoint


def _notes_on_seen(recipe: Recipe, dataset: ImageDataset) -> list[str]:
    """Say how many of the photos held out the run was trained on that this one begins with: another seed held out others."""
    source, held_out = str(recipe.transfer.checkpoint), dataset.splits["validation"].sample_ids
    if source == STARTER:  # not a folder of that name
        return []
    number = len({*saved_split(Path(source)).get("train", ())}.intersection(held_out))
    if not number:
        return []
    return [
        f"{source} was trained on {number:,} of these {len(held_out):,}, by their names: expect too good a score. Its own seed "
        "(--seed) holds out the same ones"
    ]


def num_training_photos(dataset: ImageDataset) -> int:
    """Return how many photos there are to train on.

    Raises:
        DataError: there is no train split.
    """
    if "train" not in dataset.splits:
        raise DataError(f"{dataset.source}: there is no train split; found {', '.join(dataset.splits)}.")
    return len(dataset.splits["train"])


def resolved(recipe: Recipe, dataset: ImageDataset, device: str) -> Recipe:
    """Return the recipe with the number of classes, the precision and the epochs filled in.

    Raises:
        ConfigError: the recipe asks for another number of classes than the data has, or for epochs and steps that differ.
    """
    num_classes = len(dataset.class_names)
    if recipe.model.num_classes not in (MixerConfig.num_classes, num_classes):  # its default, or the same
        raise ConfigError(
            f"model.num_classes is {recipe.model.num_classes}, but {dataset.source} has {num_classes} classes. "
            "Leave it out: the data decides."
        )
    precision = recipe.precision
    if precision == "auto":
        precision = "bfloat16" if is_bfloat16_faster(device) else "float32"
    model = dataclasses.replace(recipe.model, num_classes=num_classes)
    recipe = dataclasses.replace(recipe, model=model, precision=precision)
    return _with_epochs(recipe, num_photos=num_training_photos(dataset))


def _with_epochs(recipe: Recipe, *, num_photos: int) -> Recipe:
    if recipe.num_steps is not None:
        num_epochs = max(1, math.ceil(recipe.num_steps * recipe.batch_size / num_photos))
        if recipe.num_epochs not in (0, num_epochs):
            raise ConfigError(
                f"num_epochs is {recipe.num_epochs} and num_steps is {recipe.num_steps:,}: only one of them can decide. "
                "Set num_epochs to 0, or num_steps to none (--set num_steps=none)."
            )
        return dataclasses.replace(recipe, num_epochs=num_epochs)
    return recipe


def _refuse_run_among_photos(run: Path, photos: Path | None) -> None:
    if photos is not None and run.resolve().is_relative_to(photos.resolve()):
        raise ConfigError(
            f"{run} lies inside the photos ({photos}): its pictures would become a class of theirs. "
            "Choose a folder outside with --out."
        )


def _announce(
    recipe: Recipe, dataset: ImageDataset, checkpoint: Checkpoint | None, ranks: ProcessGroup, progress: Progress
) -> None:
    model = recipe.model
    counts = ", ".join(f"{name} {len(split):,}" for name, split in dataset.splits.items())
    progress.message(f"data    {dataset.source}: {len(dataset.class_names)} classes; {counts} photos")
    for note in dataset.notes:
        progress.message(f"        {note}")
    progress.message(
        f"model   Mixer, {model.image_size[0]} × {model.image_size[1]} px, patch {model.patch_size}, "
        f"{model.num_blocks} blocks, {num_parameters(model) / 1e6:.2f} M parameters"
    )
    if checkpoint is not None:
        progress.message(
            f"begins  with a Mixer {checkpoint.source}"
            if checkpoint.source.startswith("trained by")
            else f"begins  with {checkpoint.source}"
        )
    if recipe.transfer.trained_blocks is not None:
        last = recipe.transfer.trained_blocks
        blocks = (
            f"the last {last} of {model.num_blocks} blocks and what follows them" if last else "the classifier alone"
        )
        progress.message(f"learns  {blocks}")
    length = "1 epoch" if recipe.num_epochs == 1 else f"{recipe.num_epochs:,} epochs"
    if recipe.num_steps is not None:
        length = f"{recipe.num_steps:,} steps (of {length})"
    progress.message(
        f"recipe  {recipe.name}: {length}, batches of {recipe.batch_size}, {recipe.precision}"
        + (f", {ranks.count} processes" if ranks.count > 1 else "")
    )
