"""A run at work: its recipe, photos, folder and saves. It begins anew or where an earlier session stopped."""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor, nn

from allmlp.checkpoints import Checkpoint, save_checkpoint
from allmlp.data import ImageDataset
from allmlp.errors import AllmlpError, CheckpointError, DivergedError
from allmlp.provenance import environment
from allmlp.training.distributed.consistency import check_consistent, weights_of
from allmlp.training.distributed.data_parallel import wrap_ddp
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.progress import LoggingProgress
from allmlp.training.recipe.initial_checkpoint import load_initial_checkpoint
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.recipe.resolve import with_checkpoint
from allmlp.training.run_folder import RunDirectory
from allmlp.training.snapshots.format import read_save
from allmlp.training.snapshots.history import TrainingHistory
from allmlp.training.snapshots.store import Snapshot, SnapshotStore
from allmlp.training.step.schedule import learning_rate_factor
from allmlp.training.step.state import TrainState
from allmlp.training.stop_signals import StopSignal

__all__ = ["Session"]


class Session:
    """What training needs beside the weights.

    Attributes:
        recipe: the run's.
        dataset: with its validation split.
        feed: its photos.
        num_steps: of the whole run.
        run: the run folder.
        ranks: the processes that train together.
        device: "cpu", "cuda" or "mps".
        environment: what `environment.json` says.
        progress: hears what happens; what is for people also goes to the log.
    """

    def __init__(
        self,
        recipe: ResolvedRecipe,
        dataset: ImageDataset,
        feed: InputPipeline,
        run: RunDirectory,
        ranks: ProcessGroup,
        checkpoint: Checkpoint | None,
        *,
        is_new: bool,
        progress: LoggingProgress,
    ) -> None:
        self.recipe = recipe
        self.dataset = dataset
        self.feed = feed
        self.num_steps = recipe.num_steps_on(len(dataset.splits["train"]))
        self.run = run
        self.ranks = ranks
        self.device = torch.device(ranks.device).type
        self.environment = {**environment(self.device), "processes": str(ranks.count)}
        self.progress = progress
        self._checkpoint = checkpoint  # what a new run begins with
        self._is_new = is_new
        self._saves = SnapshotStore(run.path / "resume", keep_every=recipe.saving.keep_every, warn=progress.message)
        self._last_save = time.monotonic()
        self._save_by_time = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="allmlp-write")
        self._writing: Future[None] | None = None
        self._unwritten: dict[str, Checkpoint] = {}  # what a full disk, say, kept from being written

    def begin(self) -> tuple[TrainState, TrainingHistory]:
        """Return the state to train from: of the newest sound save, or a new one."""
        state, course = TrainState(self.recipe, self.ranks), TrainingHistory()
        with self.ranks.raise_on_all():
            if self._is_new:
                self.run.describe(self.recipe, self.dataset, self.environment)
            self.progress.write_to(self.log)
        with self.ranks.raise_on_all():
            self.run.check_seen()
        saved = None if self._is_new else self._newest_save()
        if saved is not None:
            state.load(saved.tensors, step=saved.step, where=str(self.run.path / "resume"))
            course = TrainingHistory.from_facts(saved.facts, where=str(self.run.path / "resume"))
            self.run.set_results(course.results)
            self.progress.message(f"resumed at step {saved.step:,}, of {self.num_steps:,}")
            return state, course
        if not self._is_new:
            self.progress.message("resumed at step 0: this run was begun, and nothing of it was saved yet")
        if self.recipe.transfer.checkpoint is not None:
            self._begin_with_checkpoint(state)
            self.save(state, course)  # the run goes on from this even if that checkpoint changes
        return state, course

    def _begin_with_checkpoint(self, state: TrainState) -> None:
        checkpoint = self._checkpoint
        with self.ranks.raise_on_all():
            if checkpoint is None:  # killed before its first save
                checkpoint = load_initial_checkpoint(self.recipe.transfer, report=self.progress.message).with_new_head(
                    self.dataset.class_names, bias=self.recipe.head_bias
                )
                if with_checkpoint(self.recipe, checkpoint).model != self.recipe.model:
                    raise CheckpointError(
                        f"{self.recipe.transfer.checkpoint}: another Mixer than the one that {self.run.path} was begun with. "
                        "Begin a new run with --out."
                    )
        if self._checkpoint is None and self.ranks.count > 1:
            check_consistent(self.ranks, weights_of(checkpoint))
        state.begin_with(checkpoint.weights)
        self._checkpoint = None  # its memory is not needed any more

    def _newest_save(self) -> Snapshot | None:
        """Return the newest sound save, which the writer finds and every process reads."""
        path = self.run.path / "resume"
        found: Snapshot | None = None
        with self.ranks.raise_on_all():
            found = self._saves.latest() if self.ranks.is_writer else None
            damaged = list(path.glob("damaged-*")) if self.ranks.is_writer and found is None else []
            if damaged:
                raise CheckpointError(
                    f"{self.run.path}: no save is left that is as it was written ({len(damaged)} damaged), so this run cannot "
                    f"be continued. checkpoints/last can still be used. To train from the start again, delete {path}."
                )
        step = self.ranks.share(None if found is None else found.step)
        with self.ranks.raise_on_all():
            if step is not None and found is None:
                found = read_save(path / f"step-{step:09d}", step)
        return found

    def wrapped(self, state: TrainState) -> Callable[..., Tensor]:
        """Return what the loop calls for the model: compiled and averaging its gradients over processes, as need be."""
        called: nn.Module = state.model
        if self.ranks.count > 1 and not state.is_sharded:
            called = wrap_ddp(state.model, self.ranks)
        return torch.compile(called) if self.recipe.compile else called

    def agree(self, stop: StopSignal) -> None:
        """Let all processes know of a signal that one of them got, and go by the writer's clock."""
        numbers, late = self.ranks.gather([float(stop.received or 0), float(self._is_late())]).T
        stop.number = int(numbers.max()) or None
        self._save_by_time = bool(late[0])

    def _is_late(self) -> bool:
        minutes = self.recipe.saving.every_minutes
        return minutes is not None and time.monotonic() - self._last_save > 60 * minutes

    def validate(self, state: TrainState, course: TrainingHistory, *, speed: float, stop: StopSignal) -> None:
        """Score the averaged weights, add a line to the results, and keep the weights where they are the best so far.

        Raises:
            DivergedError: a value that is not finite has come into the state, or comes out of it.
        """
        with self.ranks.raise_on_all():
            state.check_finite()

        def check() -> None:
            self.agree(stop)
            stop.check()

        try:
            metrics = self.feed.validate(state, check=check)
        except CheckpointError as error:  # logits that are not finite, and the same ones on all processes
            with self.ranks.raise_on_all():
                raise DivergedError(f"Step {state.step}: {error}") from error
        ended = state.step == self.num_steps
        factor = learning_rate_factor(self.recipe.schedule, step=state.step - 1, num_steps=self.num_steps)
        epoch = self.recipe.num_epochs if ended else self.feed.order.epochs_done(state.step)
        row = {
            "epoch": epoch,
            "step": state.step,
            "seconds": course.seconds,
            "learning_rate": self.recipe.optimizer.learning_rate * factor,
            "train_loss": course.mean_loss(),
            "validation_loss": metrics.loss,
            "validation_top1": metrics.top1,
            "validation_top5": metrics.top5,
            "images_per_second": speed,
        }
        course.results.append(row)
        course.validated_step = state.step
        try:
            self.run.set_results(course.results)
        except AllmlpError as error:
            self.progress.message(f"{error} Training goes on.")
        self.progress.epoch(row)
        if (metrics.top1, -metrics.loss) > (course.best_top1, -course.best_loss):
            course.best_top1, course.best_loss, course.best_epoch = metrics.top1, metrics.loss, epoch
            self._save_weights(state, "best")

    def is_save_due(self, step: int) -> bool:
        """Say whether the recipe asks for a save after `step` steps; alike on all processes, which have agreed."""
        every = self.recipe.saving.every_steps
        return self._save_by_time or (every is not None and step > 0 and step % every == 0)

    def save(self, state: TrainState, course: TrainingHistory) -> None:
        """Save what continuing takes, in the background, and the weights as they are now, for use.

        Raises:
            DivergedError: a value that is not finite has come into the state.
        """
        with self.ranks.raise_on_all():
            state.check_finite()
        self.keep(state, course)

    def keep(self, state: TrainState, course: TrainingHistory) -> None:
        """Save a state that was found finite, as `save` does: without the other processes, unless it is divided among them."""
        self._last_save = time.monotonic()
        if not self.ranks.is_writer and not state.is_sharded:
            return
        tensors = state.tensors()
        if self.ranks.is_writer:
            self._saves.write(state.step, tensors, course.to_facts())
        if state.step:
            self._save_weights(state, "last")
            if not course.best_epoch:
                self._save_weights(state, "best")

    def wait_for_saves(self) -> None:
        """Return when nothing is being written any more."""
        if self._writing is not None:
            self._writing.result()
        self._saves.wait()

    def close(self) -> None:
        """Wait for what is being written, and end the thread that writes."""
        try:
            self.wait_for_saves()
        finally:
            self._writer.shutdown()

    def write_what_failed(self) -> None:
        """Try once more to write the weights that could not be written.

        Raises:
            ConfigError: it fails again.
        """
        self.wait_for_saves()
        for name, checkpoint in self._unwritten.items():
            save_checkpoint(checkpoint, self.run.path / "checkpoints" / name)

    def log(self, line: str) -> None:
        """Add a line to log.txt; a full disk must not end the training."""
        with contextlib.suppress(AllmlpError):
            self.run.log(line)

    def _save_weights(self, state: TrainState, name: str) -> None:
        if not self.ranks.is_writer and not state.is_sharded:
            return
        with state.averaged():
            weights = state.weights()
        if not self.ranks.is_writer:
            return
        checkpoint = Checkpoint(
            config=self.recipe.model,
            weights=weights,
            preprocessing=self.feed.preprocessing,
            class_names=self.feed.class_names,
            source=f"trained by allmlp, recipe {self.recipe.name}, seed {self.recipe.seed}, step {state.step}"
            + (f", from {first}" if (first := self.recipe.transfer.checkpoint) is not None else ""),
        )
        if self._writing is not None:
            self._writing.result()
        self._writing = self._writer.submit(self._write, checkpoint, name)

    def _write(self, checkpoint: Checkpoint, name: str) -> None:
        self._unwritten[name] = checkpoint
        try:
            save_checkpoint(checkpoint, self.run.path / "checkpoints" / name)
            del self._unwritten[name]
        except AllmlpError as error:
            self.progress.message(f"{error} Training goes on.")
