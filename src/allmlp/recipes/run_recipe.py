"""`train` and `finetune`, which train a Mixer as the commands of the same names do, with the same choice of a recipe."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from allmlp.checkpoints import STARTER
from allmlp.config import all_settings
from allmlp.data import ImageDataset, open_dataset
from allmlp.errors import ConfigError
from allmlp.io.display import quote
from allmlp.io.path_problem import path_text
from allmlp.recipes.choose import (
    ChosenRecipe,
    choose_for_finetuning,
    choose_for_run,
    choose_for_training,
    image_size_key,
)
from allmlp.recipes.presets import BETTER_QUALITY, Quality, cost_of_better, cost_of_quality, quality_settings
from allmlp.runs.layout import RunLayout, new_run_folder
from allmlp.training import (
    Progress,
    Recipe,
    StoredRun,
    Teacher,
    TrainResult,
    displayed_progress,
    is_first_process,
    stored_run,
)
from allmlp.training import train as train_recipe

__all__ = ["finetune", "train"]

Photos = str | Path | ImageDataset
Settings = Mapping[str, object] | Sequence[str]
Choose = Callable[[Recipe | str | None, Sequence[str], Callable[[], ImageDataset]], ChosenRecipe]


def train(
    recipe: Recipe | str | None,
    photos: Photos,
    out: str | Path | None = None,
    *,
    epochs: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    max_minutes: float | None = None,
    folds: int | None = None,
    seed: int | None = None,
    teacher: str | Path | Teacher | None = None,
    settings: Settings = (),
    device: str = "auto",
    progress: Progress | bool | None = True,
    resume: bool = False,
    loggers: Sequence[str] = (),
) -> TrainResult:
    """Train a Mixer on photos and write its run folder, including the report; `allmlp train` does the same.

    On SIGINT or SIGTERM the current step is finished, and a snapshot and a report of the run so far are written before
    training ends.

    Args:
        recipe: the name of a recipe (see `allmlp recipes`), your own as "my_module:my_recipe", or a `Recipe`; None chooses the
            one that fits the photos, or takes that of the run to resume.
        photos: a path or a name, as `open_dataset` takes it, or an `ImageDataset`. The test split selects nothing; it is
            scored once at the end.
        out: a folder that does not exist yet or is empty; None takes runs/<recipe>-<number>. The result has its name.
        epochs: None keeps the recipe's number; the same holds for the next four.
        image_size: side or (height, width) in pixels.
        max_minutes: the time for the whole run. If the epochs would take longer, fewer are trained, as many as fit.
        folds: cross-validates in so many folds; 0 holds out a tenth of the training photos once.
        seed: of all random choices.
        teacher: a trained, larger Mixer that knows the classes, or its export, whose answers are half of each label: a path or
            a name, as `open_model` takes it. Or a function of your own, for any other model: from the augmented images, a
            float32 tensor (B, 3, H, W) of RGB in 0 to 1 on the training device, to probabilities (B, K) in the order of the
            classes; a resumed run must be given the same one.
        settings: other settings of the recipe, as a dict such as {"augmentation.cutmix": 0}, or as assignments such as
            ["augmentation.cutmix=0"], which `--set` takes, too. `allmlp train --print-recipe` shows all keys.
        device: "auto", "cpu", "cuda" or "mps".
        progress: True prints lines, as the command does, and shows a bar in a notebook; None and False show nothing. An object
            receives the events (`allmlp.training.Progress`).
        resume: resume the run in `out` from its newest valid snapshot, bit for bit as if it had never stopped (on the same
            machine), or start it if there is none. The recipe and the photos must be those of the run.
        loggers: experiment trackers that get the losses and scores: "tensorboard", "wandb", "mlflow". A resumed run keeps
            those of its earlier sessions.

    Raises:
        ConfigError: an unknown recipe or setting (similar names are suggested), an invalid value, a folder that is in use or
            inside the photos, an unavailable device, or settings that are not those of the run to resume.
        DataError: unusable photos, all of them named before anything is written; or photos that are not the run's.
        CheckpointError: an unusable initial checkpoint.
        DivergedError: a loss is not finite, unless the recipe skips such steps.
        ReportedError: with several processes, instead of any of these: the error that ends all of them, or a
            `ProcessLostError` for a process that was killed or hangs. It states which process reports it.
        MissingExtraError: the library of a tracker is not installed.
        KeyboardInterrupt: a signal, after the training state was saved.
    """
    run = _run_to_resume(recipe, out, resume=resume)
    options: dict[str, object] = {
        "num_epochs": epochs,
        "max_minutes": max_minutes,
        "data.folds": folds,
        "seed": seed,
        "distillation.teacher": _name_of(teacher),
    }
    if image_size is not None:
        options[image_size_key(recipe, run, all_settings({}, settings))] = _sides(image_size)
    chosen = _chosen(choose_for_training, recipe, run, all_settings(options, settings), photos)
    return _train(chosen, photos, out, teacher, device=device, progress=progress, resume=resume, loggers=loggers)


def finetune(
    photos: Photos,
    out: str | Path | None = None,
    *,
    quality: Quality | None = None,
    checkpoint: str | Path | None = None,
    recipe: Recipe | str | None = None,
    epochs: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    trained_blocks: int | None = None,
    max_minutes: float | None = None,
    folds: int | None = None,
    seed: int | None = None,
    teacher: str | Path | Teacher | None = None,
    settings: Settings = (),
    device: str = "auto",
    progress: Progress | bool | None = True,
    resume: bool = False,
    loggers: Sequence[str] = (),
) -> TrainResult:
    """Fine-tune a trained Mixer on photos and write its run folder, including the report; `allmlp finetune` does the same.

    The classifier keeps classes of the same name; new ones start at zero.

    Args:
        quality: what the run starts from and how much of it is trained, in one word: "fast", the weights that come with allmlp;
            "balanced", a classifier on the features of b16-i21k; "best", all of b16-i21k, which takes hours without a GPU. What
            it costs is reported before the run begins. It stands for `checkpoint` and `trained_blocks`.
        checkpoint: the initial checkpoint: a path, or a name, as `load_checkpoint` takes it. None takes the recipe's: for
            "finetune", it is "starter", the weights that come with allmlp.
        recipe: as in `train`; None means "finetune", or the recipe of the run to resume.
        epochs: None takes the number that fits the photos, or the recipe's.
        image_size: to convert the Mixer to: side or (height, width) in pixels; None keeps the checkpoint's.
        trained_blocks: trains only the last so many blocks and the classifier; 0 trains only the classifier, None all.
        folds: cross-validates in so many folds; 0 holds out a tenth of the training photos once. None chooses for the photos:
            a few are cross-validated.
        photos, out, max_minutes, seed, teacher, settings, device, progress, resume, loggers: as in `train`.

    Raises:
        ConfigError: also a recipe without an initial checkpoint.
        CheckpointError, DataError, and the other errors: as in `train`.
    """
    run = _run_to_resume(recipe, out, resume=resume)
    start: dict[str, object] = {"transfer.checkpoint": checkpoint, "transfer.trained_blocks": trained_blocks}
    if quality is not None:
        instead_of = {"checkpoint": checkpoint, "trained_blocks": trained_blocks}
        start = quality_settings(quality, instead_of=instead_of, keys=all_settings({}, settings))
    options: dict[str, object] = {
        **start,
        "transfer.image_size": None if image_size is None else _sides(image_size),
        "num_epochs": epochs,
        "max_minutes": max_minutes,
        "data.folds": folds,
        "seed": seed,
        "distillation.teacher": _name_of(teacher),
    }
    chosen = _chosen(choose_for_finetuning, recipe, run, all_settings(options, settings), photos)
    if quality is not None and run is None and _is_shown(progress):
        dataset = chosen.dataset or _opened(photos)
        cost = f"quality {quality}: {cost_of_quality(quality, chosen.recipe, dataset, device=device)}"
        chosen = chosen._replace(dataset=dataset, reason="\n".join(filter(None, (chosen.reason, cost))))
    result = _train(chosen, photos, out, teacher, device=device, progress=progress, resume=resume, loggers=loggers)
    if result.recipe.transfer.checkpoint == STARTER and _is_shown(progress):
        cost = cost_of_better(result.dataset, device=device)
        displayed_progress(progress).message(f"for better: quality={BETTER_QUALITY!r}: {cost}")
    return result


def _run_to_resume(recipe: Recipe | str | None, out: str | Path | None, *, resume: bool) -> StoredRun | None:
    """Return the run in `out` if it is to be resumed with a recipe that depends on it."""
    if not resume or isinstance(recipe, Recipe):
        return None
    if out is None:
        raise ConfigError("resume=True continues the run in `out`; give its folder.")
    path = path_text(out)
    return None if path is None else stored_run(Path(path))


def _chosen(
    choose: Choose, recipe: Recipe | str | None, run: StoredRun | None, given: Sequence[str], photos: Photos
) -> ChosenRecipe:
    """Return the recipe that is chosen for a new run, or requested for an existing `run`."""
    if run is not None:
        return ChosenRecipe(choose_for_run(run, recipe, given), None, "")
    return choose(recipe, given, lambda: _opened(photos))


def _train(
    chosen: ChosenRecipe,
    photos: Photos,
    out: str | Path | None,
    teacher: str | Path | Teacher | None,
    *,
    device: str,
    progress: Progress | bool | None,
    resume: bool,
    loggers: Sequence[str],
) -> TrainResult:
    """Train with a chosen recipe, and report the reason for its choice and where a stopped run continues."""
    recipe, dataset, reason = chosen
    shown = displayed_progress(progress)
    if reason and is_first_process():
        shown.message(reason)
    out = new_run_folder(recipe.name) if out is None else out
    data = photos if dataset is None else dataset
    try:
        return train_recipe(
            recipe,
            data,
            out,
            device=device,
            progress=shown,
            resume=resume,
            loggers=loggers,
            teacher=teacher if callable(teacher) else None,
        )
    except KeyboardInterrupt:
        if is_first_process() and RunLayout(Path(out)).resume.is_dir():
            shown.message(
                f"Stopped. The progress so far is saved; continue with the same call and out={str(out)!r}, resume=True."
            )
        raise


def _name_of(teacher: str | Path | Teacher | None) -> str | None:
    """Return what a recipe keeps of a teacher: its path or name, or the name of a function."""
    if callable(teacher):
        return getattr(teacher, "__name__", type(teacher).__name__)
    if teacher is None:
        return None
    if (path := path_text(teacher)) is None:
        raise ConfigError(f"teacher is {quote(teacher)}; expected a path, a name or a function.")
    return path


def _opened(photos: Photos) -> ImageDataset:
    return photos if isinstance(photos, ImageDataset) else open_dataset(photos)


def _is_shown(progress: Progress | bool | None) -> bool:
    """Return whether this process shows progress, for which costs are worth timing."""
    return progress not in (None, False) and is_first_process()


def _sides(image_size: int | tuple[int, int]) -> tuple[int, int]:
    return (image_size, image_size) if isinstance(image_size, int) else image_size
