"""Training, from a recipe and photos to a run folder: one run, and with cross-validation one more per fold."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from allmlp.data import ImageDataset
from allmlp.errors import AllmlpError, ConfigError
from allmlp.io.display import quote
from allmlp.io.path_problem import path_text
from allmlp.training.finish import TrainResult
from allmlp.training.loop import FoldStart, Unscored, train_run
from allmlp.training.progress import NoProgress, Progress
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.reporting.stored_report import report_run
from allmlp.training.run_folder import lock_run
from allmlp.training.several_runs.cross_validation import AfterStart, cross_validate
from allmlp.training.step.distillation import Teacher
from allmlp.training.stop_signals import StopSignal

__all__ = ["TrainResult", "train"]


def train(
    recipe: Recipe,
    data: str | Path | ImageDataset,
    run_directory: str | Path,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    resume: bool = False,
    loggers: Sequence[str] = (),
    teacher: Teacher | None = None,
) -> TrainResult:
    """Train a Mixer on photos and write its run folder, including the report.

    On SIGINT or SIGTERM the current step is finished, and a snapshot and a report of the run so far are written before
    training ends. With cross-validation (`data.folds`), the run trains on all training photos, then one more run per fold on
    the others.

    Args:
        recipe: the settings of the run.
        data: photos in any form that `open_dataset` takes. The test split selects nothing; it is scored once at the end.
        run_directory: a folder that does not exist yet or is empty.
        device: "auto", "cpu", "cuda" or "mps".
        progress: receives progress events; None discards them.
        resume: resume the run in `run_directory` from its newest valid snapshot, bit for bit as if it had never stopped (on
            the same machine), or start it if there is none. The recipe and the photos must be those of the run.
        loggers: experiment trackers that get the losses and scores: "tensorboard", "wandb", "mlflow". A resumed run keeps
            those of its earlier sessions.
        teacher: a function that answers in place of the model `recipe.distillation.teacher`, which is then only its name: from
            augmented images, a float32 tensor (B, 3, H, W) of RGB in 0 to 1 on the training device, to probabilities (B, K) in
            the order of the classes. A resumed run must be given the same one.

    Raises:
        ConfigError: the folder is in use or inside the photos, a value is invalid, the device is unavailable, or the recipe
            is not the run's.
        DivergedError: a loss is not finite, unless the recipe skips such steps.
        DataError: unusable photos, all of them named before anything is written; or photos that are not the run's.
        ReportedError: with several processes, instead of any of these: the error that ends all of them, or a
            `ProcessLostError` for a process that was killed or hangs. It states which process reports it.
        MissingExtraError: the library of a tracker is not installed.
        KeyboardInterrupt: a signal, after the training state was saved.
    """
    if (path := path_text(run_directory)) is None:
        raise ConfigError(f"The run folder is {quote(run_directory)}; expected a path.")
    run, progress = Path(path), progress or NoProgress()
    trained = train_run(
        recipe, data, run, device=device, progress=progress, resume=resume, loggers=loggers, teacher=teacher
    )
    if isinstance(trained, TrainResult):
        return trained

    def train_fold(
        recipe: ResolvedRecipe, dataset: ImageDataset, folder: Path, progress: Progress, fold: FoldStart
    ) -> Unscored:
        fold_run = train_run(
            recipe, dataset, folder, device=device, progress=progress, resume=True, fold=fold, teacher=teacher
        )
        assert isinstance(fold_run, Unscored)
        return fold_run

    # For signals between the runs: there is nothing to save, but it is reported to the caller.
    with StopSignal() as stop:
        try:
            with lock_run(run, is_new=False) if trained.is_first else contextlib.nullcontext():
                out_of_fold = cross_validate(run, trained, train_fold, device=device, progress=progress)
        except KeyboardInterrupt:
            stop.deferred = True
            if trained.is_first:
                _report_stopped(run, device=device, progress=progress)
            raise
        scored = train_run(
            recipe,
            data,
            run,
            device=device,
            progress=AfterStart(progress),
            resume=True,
            out_of_fold=out_of_fold,
            teacher=teacher,
        )
    assert isinstance(scored, TrainResult)
    return scored


def _report_stopped(run: Path, *, device: str, progress: Progress) -> None:
    """Write the report of a run that a signal stopped in its folds; a full disk must not hide the signal."""
    try:
        report_run(run, device=device, report=progress.message)
    except AllmlpError as error:
        progress.message(f"The report could not be written: {error}")
