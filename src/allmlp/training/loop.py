"""The training loop, from a recipe and photos to a run folder. Read `_loop` from top to bottom."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from allmlp.data import ImageDataset
from allmlp.errors import AllmlpError, ConfigError
from allmlp.io.display import quote
from allmlp.io.path_problem import path_text
from allmlp.training.finish import TrainResult, finish
from allmlp.training.loggers.registry import check_loggers
from allmlp.training.progress import NoProgress, Progress
from allmlp.training.recipe.recipe import Recipe
from allmlp.training.reporting.run_report import stopped_at, write_run_report
from allmlp.training.session import Session
from allmlp.training.setup import setup
from allmlp.training.snapshots.history import TrainingHistory
from allmlp.training.step.schedule import learning_rate_factor
from allmlp.training.step.state import TrainState
from allmlp.training.step.update import update
from allmlp.training.stop_signals import StopSignal
from allmlp.training.tracking import track

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
) -> TrainResult:
    """Train a Mixer on photos and write its run folder, including the report.

    On SIGINT or SIGTERM the current step is finished, and a snapshot and a report of the run so far are written before
    training ends.

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
    check_loggers(loggers)
    if (path := path_text(run_directory)) is None:
        raise ConfigError(f"The run folder is {quote(run_directory)}; expected a path.")
    with StopSignal() as stop, setup(
        recipe, data, Path(path), device=device, progress=progress or NoProgress(), resume=resume, stop=stop
    ) as session, track(session, loggers) as tracked:  # fmt: skip
        state, history = session.begin()
        tracked.start(state.step)
        stop.deferred = True
        try:
            _loop(session, state, history, stop)
        except KeyboardInterrupt:
            _report_stopped(session, history)
            raise
        finally:
            session.progress.finish()
        stop.deferred = False
        result = finish(session, history)
        tracked.finish(result.evaluations)
        return result


def _loop(session: Session, state: TrainState, history: TrainingHistory, stop: StopSignal) -> None:
    """Train from `state.step` to the last step."""
    recipe, pipeline, progress = session.recipe, session.pipeline, session.progress
    num_steps = session.num_steps
    model = session.wrapped(state)
    batches = pipeline.batches(first_step=state.step, num_steps=num_steps)
    clock = _Clock(state.step, num_steps, history, batch_size=recipe.batch_size)
    progress.start(num_steps)
    with contextlib.closing(batches), session.saving_on_error(state, history):
        while True:
            # Validate once at the end of every epoch and after the last step.
            epoch_ended = pipeline.order.epochs_done(state.step) > pipeline.order.epochs_done(max(0, state.step - 1))
            if history.validated_step < state.step and (epoch_ended or state.step == num_steps):
                history.seconds = clock.seconds()
                session.validate(state, history, speed=clock.images_per_second, stop=stop)
                clock.begin_epoch()

            # Save when due. A signal ends the run on all processes, after a snapshot.
            agreed = session.agree(stop)
            if session.is_save_due(state.step, agreed):
                history.seconds = clock.seconds()
                session.save(state, history)
                agreed = session.agree(stop)  # a signal that arrived meanwhile has its snapshot already
            agreed.check()
            if state.step == num_steps:
                break

            # Take a step.
            factor = learning_rate_factor(recipe.schedule, step=state.step, num_steps=num_steps)
            batch = next(batches)
            loss = update(state, model, batch, recipe, factor, ranks=session.ranks)
            history.add_step(loss, batch.keys)

            # Report it.
            seconds_left = clock.tick(state.step)
            progress.step(state.step, loss=loss, images_per_second=clock.images_per_second, seconds_left=seconds_left)


def _report_stopped(session: Session, history: TrainingHistory) -> None:
    """Write the report of a run that a signal stopped; a full disk must not hide the signal."""
    if not session.ranks.is_first:
        return
    run, recipe = session.run, session.recipe
    evaluations = {} if session.best_metrics is None else {"validation": session.best_metrics}
    stopped = stopped_at(run.path, recipe, history.results, how="was stopped")
    try:
        write_run_report(
            run.path,
            recipe,
            session.dataset,
            evaluations,
            session.pipeline,
            session.environment,
            history,
            stopped=stopped,
        )
    except AllmlpError as error:
        session.progress.message(f"The report could not be written: {error}")


class _Clock:
    """Training time so far, throughput in the current epoch, and the time left.

    Attributes:
        images_per_second: in the current epoch; 0 before the first step.
    """

    def __init__(self, step: int, num_steps: int, history: TrainingHistory, *, batch_size: int) -> None:
        self._first_step, self._num_steps, self._batch_size = step, num_steps, batch_size
        self._seconds_before = history.seconds
        self._started = time.perf_counter()
        self.images_per_second = 0.0
        self.begin_epoch()

    def begin_epoch(self) -> None:
        self._epoch_started, self._images_in_epoch = time.perf_counter(), 0

    def tick(self, step: int) -> float:
        """Count a step, after which `step` steps are done, and return the estimated seconds left."""
        now = time.perf_counter()
        self._images_in_epoch += self._batch_size
        self.images_per_second = self._images_in_epoch / (now - self._epoch_started)
        return (now - self._started) / (step - self._first_step) * (self._num_steps - step)

    def seconds(self) -> float:
        """Return the seconds of training so far, including earlier sessions."""
        return self._seconds_before + time.perf_counter() - self._started
