"""Setup of a training session: everything is checked and read before anything is written."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from allmlp.checkpoints import STARTER, Checkpoint
from allmlp.data import (
    ImageDataset,
    copy_notes,
    fold_of_photos,
    hold_out,
    notes_on_folds,
    open_dataset,
    read_skipped,
    skip_bad_photos,
    skip_photos,
)
from allmlp.errors import CheckpointError, ConfigError, DataError
from allmlp.hardware.compute_threads import compute_threads
from allmlp.hardware.devices import choose_device, reuse_freed_memory
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.display import counted, escape, quote, summarise
from allmlp.model import num_parameters
from allmlp.runs.layout import RunLayout
from allmlp.runs.saved_notes import read_notes
from allmlp.runs.saved_split import saved_split
from allmlp.training.distributed.consistency import check_consistent, facts_of, photos_fact
from allmlp.training.distributed.process_group import ProcessGroup, join_ranks
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.progress import LoggingProgress, NoProgress, PhotosRead, Progress
from allmlp.training.recipe.initial_checkpoint import load_initial_checkpoint
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.recipe.resolve import (
    check_divisible,
    resolve,
    resumed_recipe,
    type_checked,
    with_checkpoint,
)
from allmlp.training.reporting.class_sizes import class_size_lines, class_sizes
from allmlp.training.run_folder import RunDirectory, decoded_fingerprint, lock_run, refuse_used_folder
from allmlp.training.session import Session
from allmlp.training.step.compiler import check_compiler
from allmlp.training.step.distillation import Teacher, with_teacher
from allmlp.training.stop_signals import StopSignal
from allmlp.training.stored_run import StoredRun, check_same_photos, stored_digests, stored_run, with_validation_of

__all__ = ["num_training_photos", "setup"]


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
    initial: Checkpoint | None = None,
    teacher: Teacher | None = None,
) -> Iterator[Session]:
    """Yield the session of a run in the folder `path`, locked against other training processes. For the rest see `train`.

    `initial` stands for the checkpoint that the recipe names; None loads that one.
    """
    started = time.monotonic()
    with join_ranks(choose_device(device)) as ranks, stop.defer_on_error(), contextlib.ExitStack() as stack:
        logged = LoggingProgress(progress if ranks.is_first else NoProgress())
        with ranks.raise_on_all():
            stored = stored_run(path) if resume else None
            resolved, dataset, checkpoint = _check_inputs(
                recipe, data, path, stored, ranks, logged, resume=resume, checkpoint=initial
            )
            resolved, teacher = with_teacher(resolved, teacher, dataset.class_names, device=ranks.device)
        if stored is not None and ranks.device == "cpu":
            before = stack.enter_context(compute_threads(stored.num_threads))
            if stored.num_threads is None:
                logged.message(
                    f"threads {before}: {RunLayout(path).environment} does not say with how many the run started, and another "
                    "number rounds differently"
                )
            elif stored.num_threads != before:
                logged.message(
                    f"threads {stored.num_threads}, as when the run started, not {before}: another number rounds differently"
                )
        if ranks.count > 1:  # computing the facts takes time
            check_consistent(ranks, facts_of(resolved, dataset, path, stored, checkpoint, device=ranks.device))
        with ranks.raise_on_all():
            _announce(resolved, dataset, checkpoint, ranks, logged)
            pipeline = InputPipeline(
                resolved,
                dataset,
                ranks=ranks,
                progress=logged,
                decoded=None if stored is None else decoded_fingerprint(RunLayout(path)),
                digests=None if stored is None else stored_digests(dataset, stored),
                teacher=teacher,
            )
            if stored is None:
                copies = copy_notes(dataset, pipeline.digests)
                for note in copies:
                    logged.message(f"warning {note}")
                dataset = dataclasses.replace(dataset, notes=(*dataset.notes, *copies))
            if ranks.is_first:
                stack.enter_context(lock_run(path, is_new=stored is None, resume=resume))
        check_consistent(ranks, photos_fact(pipeline.digests))
        run = RunDirectory(path)
        session = Session(
            resolved, dataset, pipeline, run, ranks, checkpoint, is_new=stored is None, started=started, progress=logged
        )
        try:
            yield session
        finally:
            session.wait_for_saves()


def _check_inputs(
    recipe: Recipe,
    data: str | Path | ImageDataset,
    path: Path,
    stored: StoredRun | None,
    ranks: ProcessGroup,
    progress: Progress,
    *,
    resume: bool,
    checkpoint: Checkpoint | None,
) -> tuple[ResolvedRecipe, ImageDataset, Checkpoint | None]:
    """Return the resolved recipe, the data set with its validation split, and the initial checkpoint of a new run.

    `checkpoint` is the initial checkpoint if it has been loaded before.
    """
    recipe = type_checked(recipe)
    check_divisible(recipe, num_processes=ranks.count)
    reuse_freed_memory()
    resolved = None
    if stored is not None:
        resolved = resumed_recipe(recipe, stored.recipe, where=stored.path)
    else:
        refuse_used_folder(path, resume=resume)
        if recipe.transfer.checkpoint is not None:
            checkpoint = checkpoint or load_initial_checkpoint(recipe.transfer, report=progress.message)
            recipe = with_checkpoint(recipe, checkpoint)
    options = {} if stored is None else stored.options
    opened = data if isinstance(data, ImageDataset) else open_dataset(data, **options)
    _refuse_run_among_photos(path, opened.folder)
    has_validation = "validation" in opened.splits
    if recipe.data.bad_photos == "skip":
        opened = _without_bad_photos(opened, stored, recipe.data.num_workers, progress)
    with opened.notes_with_errors():
        num_training_photos(opened)
        if stored is None:
            dataset = _with_validation(opened, recipe)
        else:
            dataset = with_validation_of(stored, opened)
            check_same_photos(dataset, stored)
        if resolved is None:
            resolved = resolve(recipe, dataset, torch.device(ranks.device).type)
    if resolved.compile and ranks.device == "cpu":
        check_compiler()
    if checkpoint is not None:
        checkpoint = checkpoint.with_new_head(dataset.class_names, bias=resolved.head_bias)
    notes = None if stored is None else read_notes(RunLayout(path).notes)
    if notes is not None:
        dataset = dataclasses.replace(dataset, notes=notes)
    elif not has_validation:
        # What the run started from may be damaged by now; it goes on without.
        with contextlib.nullcontext() if stored is None else contextlib.suppress(CheckpointError):
            for source in filter(None, (resolved.transfer.checkpoint, resolved.distillation.teacher)):
                dataset = dataclasses.replace(dataset, notes=(*dataset.notes, *_notes_on_overlap(source, dataset)))
    return resolved, dataset, checkpoint


def _with_validation(dataset: ImageDataset, recipe: Recipe) -> ImageDataset:
    """Return the data set with a validation split, its own or held out; without one if the run is cross-validated."""
    if not recipe.data.folds:
        return hold_out(dataset, fraction=recipe.data.holdout, seed=recipe.seed)
    if "validation" in dataset.splits:
        note = (
            f"data.folds={recipe.data.folds} has no effect: these photos have a validation split, which scores the run"
        )
        return dataclasses.replace(dataset, notes=(*dataset.notes, note))
    folds = fold_of_photos(dataset, num_folds=recipe.data.folds, seed=recipe.seed)
    notes = notes_on_folds(dataset, folds, seed=recipe.seed)
    return dataclasses.replace(dataset, notes=(*dataset.notes, *notes))


def _without_bad_photos(
    dataset: ImageDataset, stored: StoredRun | None, num_workers: int | None, progress: Progress
) -> ImageDataset:
    """Return the data set without the photos that cannot be used: found now, or the ones that a resumed run skipped."""
    if stored is not None:
        return skip_photos(dataset, read_skipped(RunLayout(stored.path).skipped))
    workers = num_decoding_threads() if num_workers is None else num_workers
    return skip_bad_photos(dataset, num_workers=workers, progress=PhotosRead(progress))


def _notes_on_overlap(source: str, dataset: ImageDataset) -> list[str]:
    """Return a note if an initial checkpoint or teacher was trained on photos that score the run, held out once or in folds."""
    if source == STARTER:  # not a folder of that name
        return []
    is_held_out = "validation" in dataset.splits
    scored = dataset.splits["validation" if is_held_out else "train"].sample_ids
    saved = saved_split(Path(source))
    num_shared = len({*saved.get("train", ())}.intersection(scored))
    if not num_shared:
        return []
    remedy = "That run held out none of them: score this one on photos that it has not seen, in a split `test`"
    if is_held_out and "validation" in saved:
        remedy = "To hold out the same photos as that run, use its seed (--seed)"
    elif "validation" in saved:
        remedy = "Take other weights, or hold out the same photos as that run (--folds 0 and its --seed)"
    return [
        f"{source} was trained on {num_shared:,} of the {len(scored):,} {'validation' if is_held_out else 'cross-validated'} "
        f"photos (matched by name), so their score will be too high. {remedy}"
    ]


def num_training_photos(dataset: ImageDataset) -> int:
    """Return the number of training photos.

    Raises:
        DataError: there is no train split, or it has photos of only one class.
    """
    source = escape(dataset.source)
    if "train" not in dataset.splits:
        raise DataError(f"{source}: there is no train split; found {summarise(dataset.splits)}.")
    train = dataset.splits["train"]
    if len(set(train.labels.tolist())) == 1:
        name = dataset.class_names[train.labels[0]]
        raise DataError(
            f"{source}: only one class has photos, {quote(name)}; a classifier needs at least two classes, each with its own "
            "folder or label. If the folders of the classes are in another folder, choose --classes-from FOLDER."
        )
    return len(train)


def _refuse_run_among_photos(run: Path, photos: Path | None) -> None:
    if photos is not None and run.resolve().is_relative_to(photos.resolve()):
        raise ConfigError(
            f"{escape(run)} is inside the folder of photos ({escape(photos)}): its plots would become a class. "
            "Choose a folder outside with --out."
        )


def _announce(
    recipe: ResolvedRecipe,
    dataset: ImageDataset,
    checkpoint: Checkpoint | None,
    ranks: ProcessGroup,
    progress: Progress,
) -> None:
    model = recipe.model
    counts = ", ".join(f"{name} {len(split):,}" for name, split in dataset.splits.items())
    progress.message(f"data    {escape(dataset.source)}: {len(dataset.class_names)} classes; {counts} photos")
    is_balanced = "balanced" in (recipe.sampler, recipe.class_weights)
    for line in class_size_lines(dataset.class_names, class_sizes(dataset), is_balanced=is_balanced):
        progress.message(line)
    for note in dataset.notes:
        progress.message(f"        {escape(note)}")
    progress.message(
        f"model   Mixer, {model.image_size[0]} × {model.image_size[1]} px, patch {model.patch_size}, "
        f"{model.num_blocks} blocks, {num_parameters(model) / 1e6:.2f} M parameters"
    )
    if checkpoint is not None:
        progress.message(
            f"init    from a Mixer {checkpoint.source}"
            if checkpoint.source.startswith("trained by")
            else f"init    from {checkpoint.source}"
        )
    if recipe.distillation.teacher is not None:
        share = f"{recipe.distillation.weight:.0%} of each label"
        progress.message(f"teacher {escape(recipe.distillation.teacher)}, {share}")
    if recipe.transfer.trained_blocks is not None:
        last = recipe.transfer.trained_blocks
        blocks = (
            f"the last {last} of {model.num_blocks} blocks and the layers after them" if last else "only the classifier"
        )
        progress.message(f"trains  {blocks}")
    length = counted(recipe.num_epochs, "epoch")
    if recipe.num_steps is not None:
        length = f"{counted(recipe.num_steps, 'step')} ({length})"
    if recipe.max_minutes is not None:
        length += f" or {recipe.max_minutes:g} minutes"
    progress.message(
        f"recipe  {recipe.name}: {length}, batches of {recipe.batch_size}, {recipe.precision}"
        + (f", {ranks.count} processes" if ranks.count > 1 else "")
    )
