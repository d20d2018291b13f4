"""The training loop, from a recipe and photos to a run folder. Read `_loop` from top to bottom."""

import contextlib
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from allmlp.checkpoints import Checkpoint
from allmlp.data import ImageDataset
from allmlp.errors import AllmlpError
from allmlp.training.cached_features import KnownFeatures, cached_features
from allmlp.training.finish import TrainResult, finish
from allmlp.training.length.fold_budget import FoldLength
from allmlp.training.loggers.registry import check_loggers
from allmlp.training.progress import Progress
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.reporting.out_of_fold import OutOfFold
from allmlp.training.reporting.run_report import stopped_at, write_run_report
from allmlp.training.session import Session
from allmlp.training.setup import setup
from allmlp.training.snapshots.history import TrainingHistory
from allmlp.training.step.batch import TrainingBatch
from allmlp.training.step.distillation import Teacher
from allmlp.training.step.state import TrainState
from allmlp.training.step.update import update
from allmlp.training.stop_signals import StopSignal
from allmlp.training.tracking import track

__all__ = ["FoldStart", "Unscored", "train_run"]


def train_run(
    recipe: Recipe,
    data: str | Path | ImageDataset,
    run_directory: Path,
    *,
    device: str,
    progress: Progress,
    resume: bool,
    loggers: Sequence[str] = (),
    out_of_fold: OutOfFold | None = None,
    fold: "FoldStart | None" = None,
    teacher: Teacher | None = None,
) -> "TrainResult | Unscored":
    """Train one run, or continue it. For the other arguments and the errors see `train`.

    A run whose recipe has folds is scored by the predictions of cross-validation, `out_of_fold`; without them, it trains and
    stays unscored, without a report, as does the run of a `fold`.
    """
    check_loggers(loggers)
    with StopSignal() as stop, setup(
        recipe, data, run_directory, device=device, progress=progress, resume=resume, stop=stop,
        initial=None if fold is None else fold.initial, teacher=teacher,
    ) as session, track(session, loggers) as tracked:  # fmt: skip
        if fold is not None:
            session.plan.take_minutes(fold.minutes)
        state, history = session.begin()
        tracked.start(state.step)
        stop.deferred = True
        try:
            _loop(session, state, history, stop, known=None if fold is None else fold.features)
            session.agree(stop).check()  # a signal that came while the last state was saved
            features = None if fold is not None or out_of_fold is not None else _features_for_folds(session, stop)
        except KeyboardInterrupt:
            if fold is None:
                _report_stopped(session, history)
            raise
        finally:
            session.progress.finish()
        stop.deferred = False
        if fold is not None or (session.recipe.data.folds and out_of_fold is None):
            with session.ranks.raise_on_all():
                session.checkpoints.finish()
            return _unscored(session, history, features)
        if out_of_fold is not None:
            session.plan.add_folds(out_of_fold.lengths, history)
        result = finish(session, history, out_of_fold)
        tracked.finish(result.evaluations)
        return result


class FoldStart(NamedTuple):
    """What the run of a fold takes over from the cross-validated run.

    minutes: its share of a time budget; None without one.
    initial: the checkpoint from which the run started; None if the fold has to load it, or starts from random weights.
    features: of the training photos of the fold, as far as the run has computed them; None if it computes them in every step.
    """

    minutes: float | None
    initial: Checkpoint | None
    features: KnownFeatures | None


class Unscored(NamedTuple):
    """A run that has taken all its steps and is to be cross-validated, or is the run of a fold.

    recipe, dataset: of the run.
    is_first: whether this is the process that writes files.
    length: how a time budget changed its length.
    seconds, setup_seconds: the training time of all sessions, and what setting up this one took.
    features: of its training photos, for the folds; None if they are computed in every step.
    """

    recipe: ResolvedRecipe
    dataset: ImageDataset
    is_first: bool
    length: FoldLength
    seconds: float
    setup_seconds: float
    features: KnownFeatures | None


def _features_for_folds(session: Session, stop: StopSignal) -> KnownFeatures | None:
    """Return the features of the training photos; None if no fold is left to train, or every step computes its own."""
    layout, num_folds = session.run.layout, session.recipe.data.folds
    is_missing = any(not layout.fold_predictions(number + 1).exists() for number in range(num_folds))
    if session.cached is None or not session.ranks.broadcast(is_missing):
        return None
    return session.cached.known(num_steps=session.plan.num_steps, check=lambda: session.agree(stop).check())


def _unscored(session: Session, history: TrainingHistory, features: KnownFeatures | None) -> Unscored:
    return Unscored(
        session.recipe,
        session.dataset,
        session.ranks.is_first,
        FoldLength(history.revisions, history.minutes_needed),
        history.seconds,
        session.plan.setup_seconds,
        features,
    )


def _loop(
    session: Session, state: TrainState, history: TrainingHistory, stop: StopSignal, *, known: KnownFeatures | None
) -> None:
    """Train from `state.step` to the last step; `known` are features that need not be computed."""
    recipe, pipeline, plan, progress = session.recipe, session.pipeline, session.plan, session.progress
    model = session.wrapped(state)
    batches = _batches(session, state, stop, known)
    clock = _Clock(state.step, history, batch_size=recipe.batch_size)
    plan.start_budget(history, setup_seconds=time.monotonic() - session.started)
    progress.start(plan.num_steps)
    with contextlib.closing(batches), session.saving_on_error(state, history):
        while True:
            # Validate once at the end of every epoch and after the last step.
            epoch_ended = pipeline.order.epochs_done(state.step) > pipeline.order.epochs_done(max(0, state.step - 1))
            if history.validated_step < state.step and (epoch_ended or state.step == plan.num_steps):
                history.seconds = clock.seconds()
                session.validate(state, history, speed=clock.images_per_second, stop=stop)
                clock.begin_epoch()

            # Save when due. A signal ends the run on all processes, after a snapshot. The first one's clock may revise the
            # number of steps.
            agreed = session.agree(stop, state.step)
            plan.revise(state.step, agreed.num_steps, history, progress)
            if session.is_save_due(state.step, agreed):
                history.seconds = clock.seconds()
                session.save(state, history)
                agreed = session.agree(stop)  # a signal that arrived meanwhile has its snapshot already
            agreed.check()
            if state.step == plan.num_steps:
                break

            # Take a step.
            factor = plan.learning_rate_factor(state.step)
            batch = next(batches)
            loss = update(state, model, batch, recipe, factor, ranks=session.ranks)
            history.add_step(loss, batch.keys)

            # Report it.
            plan.step_ended()
            seconds_left = clock.tick(state.step, num_steps=plan.num_steps)
            progress.step(state.step, loss=loss, images_per_second=clock.images_per_second, seconds_left=seconds_left)


def _batches(
    session: Session, state: TrainState, stop: StopSignal, known: KnownFeatures | None
) -> Generator[TrainingBatch, None, None]:
    """Yield the batches from `state.step` on: of images, or of features that are computed once, as the recipe says."""
    steps = {"first_step": state.step, "num_steps": session.plan.planned_steps}
    session.cached = cached_features(
        state, session.pipeline, session.recipe, session.ranks, known=known, report=session.progress.message
    )
    if session.cached is None:
        return session.pipeline.batches(**steps)
    return session.cached.training_batches(**steps, check=lambda: session.agree(stop).check())


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

    def __init__(self, step: int, history: TrainingHistory, *, batch_size: int) -> None:
        self._first_step, self._batch_size = step, batch_size
        self._seconds_before = history.seconds
        self._started = time.perf_counter()
        self.images_per_second = 0.0
        self.begin_epoch()

    def begin_epoch(self) -> None:
        self._epoch_started, self._images_in_epoch = time.perf_counter(), 0

    def tick(self, step: int, *, num_steps: int) -> float:
        """Count a step, after which `step` of `num_steps` are done, and return the estimated seconds left."""
        now = time.perf_counter()
        self._images_in_epoch += self._batch_size
        self.images_per_second = self._images_in_epoch / (now - self._epoch_started)
        return (now - self._started) / (step - self._first_step) * (num_steps - step)

    def seconds(self) -> float:
        """Return the seconds of training so far, including earlier sessions."""
        return self._seconds_before + time.perf_counter() - self._started
