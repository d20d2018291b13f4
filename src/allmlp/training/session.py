"""A training session: recipe, photos, run folder and snapshots, from the start or from where an earlier session stopped."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from allmlp.checkpoints import Checkpoint
from allmlp.data import ImageDataset
from allmlp.errors import AllmlpError, CheckpointError, DivergedError, ReportedError
from allmlp.provenance import environment
from allmlp.runs.layout import CheckpointName
from allmlp.training.distributed.consistency import check_consistent, weights_of
from allmlp.training.distributed.data_parallel import wrap_ddp
from allmlp.training.distributed.failure_notices import is_shared
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.progress import LoggingProgress
from allmlp.training.recipe.initial_checkpoint import load_initial_checkpoint
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.recipe.resolve import with_checkpoint
from allmlp.training.run_folder import RunDirectory
from allmlp.training.snapshots.checkpoint_writer import CheckpointWriter
from allmlp.training.snapshots.history import TrainingHistory
from allmlp.training.snapshots.store import Snapshot, SnapshotStore
from allmlp.training.step.schedule import learning_rate_factor
from allmlp.training.step.state import TrainState
from allmlp.training.stop_signals import Stopped, StopSignal
from allmlp.training.validation import validate

__all__ = ["Session"]


class Agreement(NamedTuple):
    """What all processes have agreed on between two steps.

    signal: the one that ends the run, None without.
    is_save_late: whether the last save is longer ago than the recipe allows.
    """

    signal: int | None
    is_save_late: bool

    def check(self) -> None:
        """Raise `Stopped`, on all processes, when a signal ends the run."""
        if self.signal is not None:
            raise Stopped(self.signal, is_shared=True)


class Session:
    """What training needs besides the weights.

    Attributes:
        recipe: the run's.
        dataset: with its validation split.
        feed: its photos.
        num_steps: of the whole run.
        run: the run folder.
        ranks: the processes that train together.
        device: "cpu", "cuda" or "mps".
        environment: the content of `environment.json`.
        progress: receives what happens; lines for people also go to the log.
        checkpoints: writes checkpoints/best and checkpoints/last.
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
        self._checkpoint = checkpoint  # what a new run is initialised from
        self._is_new = is_new
        self._saves = SnapshotStore(run.layout.resume, keep_every=recipe.saving.keep_every, warn=progress.message)
        self._last_save = time.monotonic()
        self.checkpoints = CheckpointWriter(run.layout, warn=progress.message)

    def begin(self) -> tuple[TrainState, TrainingHistory]:
        """Return the state to train from: of the newest valid save, or a new one."""
        state, history = TrainState(self.recipe, self.ranks), TrainingHistory()
        with self.ranks.raise_on_all():
            if self.ranks.is_first:
                self._describe_run()
        self.progress.write_to(self.log)
        with self.ranks.raise_on_all():
            self.run.check_seen()
        saved = None if self._is_new else self._newest_save()
        if saved is not None:
            state.load(saved.tensors, step=saved.step, where=str(self.run.layout.resume))
            history = TrainingHistory.from_metadata(saved.metadata, where=str(self.run.layout.resume))
            if self.ranks.is_first:
                self.run.write_results(history.results)
            self.progress.message(f"resumed at step {saved.step:,}, of {self.num_steps:,}")
            return state, history
        if not self._is_new:
            self.progress.message("resumed at step 0: this run was started, and nothing of it was saved yet")
        if self.recipe.transfer.checkpoint is not None:
            self._begin_with_checkpoint(state)
            self.save(state, history)  # the run continues from this even if that checkpoint changes
        return state, history

    def _describe_run(self) -> None:
        if self._is_new:
            self.run.describe(self.recipe, self.dataset, self.environment, self.feed.fingerprint)
        else:
            with contextlib.suppress(AllmlpError):  # a full disk: the next session decodes all photos again
                self.run.record_decoded(self.feed.fingerprint)

    def _begin_with_checkpoint(self, state: TrainState) -> None:
        checkpoint = self._checkpoint
        with self.ranks.raise_on_all():
            if checkpoint is None:  # killed before its first save
                checkpoint = load_initial_checkpoint(self.recipe.transfer, report=self.progress.message).with_new_head(
                    self.dataset.class_names, bias=self.recipe.head_bias
                )
                if with_checkpoint(self.recipe, checkpoint).model != self.recipe.model:
                    raise CheckpointError(
                        f"{self.recipe.transfer.checkpoint}: not the Mixer that {self.run.path} was started with. "
                        "Begin a new run with --out."
                    )
        if self._checkpoint is None and self.ranks.count > 1:
            check_consistent(self.ranks, weights_of(checkpoint))
        state.begin_with(checkpoint.weights)
        self._checkpoint = None  # its memory is not needed any more

    def _newest_save(self) -> Snapshot | None:
        """Return the newest valid save, which the writer finds and every process reads."""
        path = self.run.layout.resume
        found: Snapshot | None = None
        with self.ranks.raise_on_all():
            found = self._saves.latest() if self.ranks.is_first else None
            damaged = list(path.glob("damaged-*")) if self.ranks.is_first and found is None else []
            if damaged:
                raise CheckpointError(
                    f"{self.run.path}: no save is left that is as it was written ({len(damaged)} damaged), so this run cannot "
                    f"be continued. checkpoints/last can still be used. To train from the start again, delete {path}."
                )
        step = self.ranks.share(None if found is None else found.step)
        with self.ranks.raise_on_all():
            if step is not None and found is None:
                found = self._saves.read(step)
        return found

    def wrapped(self, state: TrainState) -> Callable[..., Tensor]:
        """Return what the loop calls for the model: compiled and averaging its gradients over processes, if needed."""
        called: nn.Module = state.model
        if self.ranks.count > 1 and not state.is_sharded:
            called = wrap_ddp(state.model, self.ranks)
        return torch.compile(called) if self.recipe.compile else called

    def agree(self, stop: StopSignal) -> Agreement:
        """Return what all processes do next: a signal that one of them got is for all, and the first one's clock counts."""
        signals, late = self.ranks.gather([float(stop.received or 0), float(self._is_late())]).T
        return Agreement(signal=int(signals.max()) or None, is_save_late=bool(late[0]))

    def _is_late(self) -> bool:
        minutes = self.recipe.saving.every_minutes
        return minutes is not None and time.monotonic() - self._last_save > 60 * minutes

    def validate(self, state: TrainState, history: TrainingHistory, *, speed: float, stop: StopSignal) -> None:
        """Score the averaged weights, add a line to the results, and keep the weights where they are the best so far.

        Raises:
            DivergedError: a value that is not finite has come into the state, or comes out of it.
        """
        with self.ranks.raise_on_all():
            state.check_finite()

        def check() -> None:
            self.agree(stop).check()

        try:
            metrics = validate(state, self.feed, self.recipe, ranks=self.ranks, check=check)
        except CheckpointError as error:  # logits that are not finite, and the same ones on all processes
            with self.ranks.raise_on_all():
                raise DivergedError(f"Step {state.step}: {error}") from error
        ended = state.step == self.num_steps
        factor = learning_rate_factor(self.recipe.schedule, step=state.step - 1, num_steps=self.num_steps)
        epoch = self.recipe.num_epochs if ended else self.feed.order.epochs_done(state.step)
        row = {
            "epoch": epoch,
            "step": state.step,
            "seconds": history.seconds,
            "learning_rate": self.recipe.optimizer.learning_rate * factor,
            "train_loss": history.mean_loss(),
            "validation_loss": metrics.loss,
            "validation_top1": metrics.top1,
            "validation_top5": metrics.top5,
            "images_per_second": speed,
        }
        history.results.append(row)
        history.validated_step = state.step
        try:
            if self.ranks.is_first:
                self.run.write_results(history.results)
        except AllmlpError as error:
            self.progress.message(f"{error} Training continues.")
        self.progress.epoch(row)
        if (metrics.top1, -metrics.loss) > (history.best_top1, -history.best_loss):
            history.best_top1, history.best_loss, history.best_epoch = metrics.top1, metrics.loss, epoch
            self._save_weights(state, "best")

    def is_save_due(self, step: int, agreed: Agreement) -> bool:
        """Return whether the run is saved after `step` steps: at its end, for a signal, or as the recipe asks."""
        every = self.recipe.saving.every_steps
        is_asked_for = agreed.signal is not None or agreed.is_save_late or step == self.num_steps
        return is_asked_for or (every is not None and step > 0 and step % every == 0)

    def save(self, state: TrainState, history: TrainingHistory) -> None:
        """Save what continuing takes, in the background, and the weights as they are now, for use.

        Raises:
            DivergedError: a value that is not finite has come into the state.
        """
        with self.ranks.raise_on_all():
            state.check_finite()
        self.keep(state, history)

    def keep(self, state: TrainState, history: TrainingHistory) -> None:
        """Save a state that was found finite, as `save` does: without the other processes, unless it is divided among them."""
        self._last_save = time.monotonic()
        if not self.ranks.is_first and not state.is_sharded:
            return
        tensors = state.tensors()
        if self.ranks.is_first:
            self._saves.write(state.step, tensors, history.to_metadata())
        if state.step:
            self._save_weights(state, "last")
            if not history.best_epoch:
                self._save_weights(state, "best")

    @contextlib.contextmanager
    def keeping(self, state: TrainState, history: TrainingHistory) -> Iterator[None]:
        """Keep what was learned so far, whatever ends the block, and wait until it is written.

        Raises:
            BaseException: what ended the block; where another process failed before, its failure.
        """
        try:
            yield
        except BaseException as error:
            # A signal's save has been made, or is made here when it came during validation. What is not finite is no use to
            # anybody. A state that is divided is saved by all processes, where they end at the same place, or not at all.
            cause = self.ranks.explain(error)
            is_together = is_shared(cause) or not state.is_sharded
            if is_together and state.is_whole and state.step and not state.not_finite():
                self.keep(state, history)
            if not isinstance(cause, Stopped | KeyboardInterrupt):
                self.log(f"ended at step {state.step} by an error: {cause}")
            reason = cause.cause if isinstance(cause, ReportedError) else cause
            if isinstance(reason, DivergedError) and self.ranks.is_first:
                self.run.write_divergence(reason)
            if cause is not error:
                raise cause from error
            raise
        finally:
            self.wait_for_saves()

    def wait_for_saves(self) -> None:
        """Return when nothing is being written any more."""
        self.checkpoints.wait()
        self._saves.wait()

    def log(self, line: str) -> None:
        """Add a line to log.txt, on the first process; a full disk must not end the training."""
        if self.ranks.is_first:
            with contextlib.suppress(OSError):
                self.run.log(line)

    def _save_weights(self, state: TrainState, name: CheckpointName) -> None:
        if not self.ranks.is_first and not state.is_sharded:
            return
        with state.averaged():
            weights = state.weights()
        if not self.ranks.is_first:
            return
        checkpoint = Checkpoint(
            config=self.recipe.model,
            weights=weights,
            preprocessing=self.feed.preprocessing,
            class_names=self.feed.class_names,
            source=f"trained by allmlp, recipe {self.recipe.name}, seed {self.recipe.seed}, step {state.step}"
            + (f", from {first}" if (first := self.recipe.transfer.checkpoint) is not None else ""),
        )
        self.checkpoints.write(name, checkpoint)
