"""Training: from a recipe and photos to a run folder. The loop is `_loop`, to be read from top to bottom."""

import time
from pathlib import Path

from allmlp.data import ImageDataset
from allmlp.errors import DivergedError
from allmlp.training.finish import TrainResult, finish
from allmlp.training.progress import NoProgress, Progress
from allmlp.training.recipe.recipe import Recipe
from allmlp.training.session import Session
from allmlp.training.setup import setup
from allmlp.training.snapshots.history import TrainingHistory
from allmlp.training.step.schedule import learning_rate_factor
from allmlp.training.step.state import TrainState
from allmlp.training.step.update import update
from allmlp.training.stop_signals import Stopped, StopSignal

__all__ = ["TrainResult", "train"]


def train(
    recipe: Recipe,
    data: str | Path | ImageDataset,
    run_directory: str | Path,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    resume: bool = False,
) -> TrainResult:
    """Train a Mixer on photos and write the run folder, its report included.

    SIGINT and SIGTERM end it after the present step, saved.

    Args:
        recipe: what to do.
        data: photos in any form that `open_dataset` takes. The test split chooses nothing; it is scored once at the end.
        run_directory: a folder that does not exist yet or is empty.
        device: "auto", "cpu", "cuda" or "mps".
        progress: hears what happens; None is silence.
        resume: continue the run in `run_directory` from its newest sound save, bit for bit as if it had never stopped (on the
            same machine); begin it when there is none. The recipe and the photos have to be the run's.

    Raises:
        ConfigError: a used folder, or one among the photos; an impossible value; a device that is not there; a recipe
            that is not the run's.
        DivergedError: a loss that is not finite, unless the recipe skips such steps.
        DataError: photos that cannot be used, all of them named, before anything is written; other photos than the run's.
        ProcessLostError: of several processes one was killed or hangs.
        KeyboardInterrupt: after what was learned was saved.
    """
    with StopSignal() as stop, setup(
        recipe, data, Path(run_directory), device=device, progress=progress or NoProgress(), resume=resume, stop=stop
    ) as session:  # fmt: skip
        state, course = session.begin()
        stop.deferred = True
        try:
            _loop(session, state, course, stop)
        finally:
            session.progress.finish()
        stop.deferred = False
        return finish(session, course)


def _loop(session: Session, state: TrainState, course: TrainingHistory, stop: StopSignal) -> None:
    """Train from `state.step` to the last step."""
    recipe, feed, progress = session.recipe, session.feed, session.progress
    num_steps = session.num_steps
    model = session.wrapped(state)
    batches = feed.batches(first_step=state.step, num_steps=num_steps)
    first_step, started, seconds_before = state.step, time.perf_counter(), course.seconds
    epoch_started, images_in_epoch, speed = started, 0, 0.0
    progress.start(num_steps)
    try:
        while True:
            epoch_ended = feed.order.epochs_done(state.step) > feed.order.epochs_done(max(0, state.step - 1))
            if course.validated_step < state.step and (epoch_ended or state.step == num_steps):
                course.seconds = seconds_before + time.perf_counter() - started
                session.validate(state, course, speed=speed, stop=stop)
                epoch_started, images_in_epoch = time.perf_counter(), 0
            session.agree(stop)
            if stop.requested or state.step == num_steps or session.is_save_due(state.step):
                course.seconds = seconds_before + time.perf_counter() - started
                session.save(state, course)
                session.agree(stop)  # on a signal that came meanwhile: the save for it has been made
            stop.check()
            if state.step == num_steps:
                break

            factor = learning_rate_factor(recipe.schedule, step=state.step, num_steps=num_steps)
            batch = next(batches)
            loss = update(state, model, batch, recipe, factor, ranks=session.ranks)
            course.add_step(loss, batch.keys)

            now = time.perf_counter()
            images_in_epoch += recipe.batch_size
            speed = images_in_epoch / (now - epoch_started)
            left = (now - started) / (state.step - first_step) * (num_steps - state.step)
            progress.step(state.step, loss=loss, images_per_second=speed, seconds_left=left)
    except BaseException as error:
        # Whatever ended it: what was learned so far is kept. A signal's save has been made, or is made here when it
        # came during validation. What is not finite is no use to anybody. A state that is divided is saved by all processes,
        # where they end at the same place, or not at all.
        cause = session.ranks.explain(error)
        is_shared = getattr(cause, "is_shared", False)
        if (is_shared or not state.is_sharded) and state.is_whole and state.step and not state.not_finite():
            session.keep(state, course)
        if not isinstance(cause, Stopped | KeyboardInterrupt):
            session.log(f"ended at step {state.step} by an error: {cause}")
        if isinstance(cause, DivergedError):
            session.run.write_divergence(cause)
        if cause is not error:
            raise cause from error
        raise
    finally:
        batches.close()
        session.wait_for_saves()
