"""A training session: recipe, photos, run folder and snapshots of a run that starts or resumes."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from allmlp.checkpoints import Checkpoint, save_checkpoint
from allmlp.data import ImageDataset
from allmlp.errors import AllmlpError, CheckpointError, DivergedError, ReportedError
from allmlp.metrics import Metrics
from allmlp.provenance import environment
from allmlp.runs.layout import CheckpointName
from allmlp.training.cached_features import CachedFeatures
from allmlp.training.distributed.consistency import check_consistent, weights_fact
from allmlp.training.distributed.data_parallel import wrap_ddp
from allmlp.training.distributed.failure_notices import is_shared
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.length.run_plan import RunPlan
from allmlp.training.progress import LoggingProgress
from allmlp.training.recipe.initial_weights import reload_initial_checkpoint
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.recipe.result_settings import check_settings, result_settings
from allmlp.training.run_folder import RunDirectory
from allmlp.training.snapshots.checkpoint_writer import CheckpointWriter, split_best
from allmlp.training.snapshots.history import TrainingHistory
from allmlp.training.snapshots.store import Snapshot, SnapshotStore
from allmlp.training.step.state import TrainState
from allmlp.training.stop_signals import Agreement, Stopped, StopSignal
from allmlp.training.validation import validate

__all__ = ["Session"]

_SETTINGS = "settings"  # in the metadata of a snapshot, next to the history


class Session:
    """Everything that training needs besides the training state.

    Attributes:
        recipe: the resolved recipe of the run.
        dataset: with its validation split.
        pipeline: the input pipeline over its photos.
        plan: the number of steps of the whole run, and the learning rates.
        started: when its setup began, by `time.monotonic`.
        run: the run folder.
        ranks: the processes that train together.
        device: "cpu", "cuda" or "mps".
        environment: the content of `environment.json`.
        progress: receives progress events; its messages also go to the log.
        checkpoints: writes checkpoints/best and checkpoints/last.
        cached: the features of photos that are computed once; None until training starts, or if the recipe trains more.
        best_metrics: the validation scores of the best weights, in the training precision; None if this session found none.
    """

    def __init__(
        self,
        recipe: ResolvedRecipe,
        dataset: ImageDataset,
        pipeline: InputPipeline,
        run: RunDirectory,
        ranks: ProcessGroup,
        checkpoint: Checkpoint | None,
        *,
        is_new: bool,
        started: float,
        progress: LoggingProgress,
    ) -> None:
        self.recipe, self.dataset, self.pipeline = recipe, dataset, pipeline
        self.plan = RunPlan(recipe, {name: len(split) for name, split in dataset.splits.items()})
        self.started = started
        self.run = run
        self.ranks = ranks
        self.device = torch.device(ranks.device).type
        self.environment = environment(self.device) | {
            "processes": str(ranks.count),
            "threads": str(torch.get_num_threads()),
        }
        self.progress = progress
        self._checkpoint = checkpoint  # what a new run is initialised from
        self._is_new = is_new
        self._snapshots = SnapshotStore(run.layout.resume, keep_every=recipe.saving.keep_every, warn=progress.message)
        self._last_save = time.monotonic()
        self.checkpoints = CheckpointWriter(run.layout, warn=progress.message)
        self.best_metrics: Metrics | None = None
        self.cached: CachedFeatures | None = None

    def begin(self) -> tuple[TrainState, TrainingHistory]:
        """Return the state to train from: that of the newest valid snapshot, or a new one."""
        state, history = TrainState(self.recipe, self.ranks), TrainingHistory()
        with self.ranks.raise_on_all():
            if self.ranks.is_first:
                self._describe_run()
        self.progress.write_to(self.log)
        with self.ranks.raise_on_all():
            self.run.check_visible()
        snapshot = None if self._is_new else self._newest_snapshot()
        if snapshot is not None:
            if snapshot.step > self.plan.planned_steps:
                raise CheckpointError(
                    f"{self.run.layout.resume}: the newest snapshot is of step {snapshot.step:,}, but the recipe ends at step "
                    f"{self.plan.planned_steps:,}. Restore the run's recipe.json."
                )
            metadata = dict(snapshot.metadata)
            with self.ranks.raise_on_all():
                check_settings(self.recipe, metadata.pop(_SETTINGS, {}), where=self.run.layout.recipe)
            tensors, best = split_best(snapshot.tensors)
            state.load(tensors, step=snapshot.step, where=str(self.run.layout.resume))
            history = TrainingHistory.from_metadata(metadata, where=str(self.run.layout.resume))
            self.plan.restore(history)
            if self.ranks.is_first:
                self.run.write_results(history.results)
                if best:  # snapshots of older versions have none
                    self.checkpoints.write("best", self._checkpoint_of(best, step=history.best_step))
            self.progress.message(f"resumed at step {snapshot.step:,} of {self.plan.num_steps:,}")
            return state, history
        if not self._is_new:
            self.progress.message("resumed at step 0: the run has no snapshot yet")
        if self.recipe.transfer.checkpoint is not None:
            self._initialise_from_checkpoint(state)
            self.save(state, history)  # the run can be resumed even if the initial checkpoint changes
        return state, history

    def _describe_run(self) -> None:
        if self._is_new:
            self.run.describe(
                self.recipe, self.dataset, self.environment, self.pipeline.digests, self.pipeline.fingerprint
            )
        else:
            with contextlib.suppress(AllmlpError):  # if the disk is full, the next session decodes all photos again
                self.run.record_photos(self.dataset, self.pipeline.digests, self.pipeline.fingerprint)

    def _initialise_from_checkpoint(self, state: TrainState) -> None:
        checkpoint = self._checkpoint
        with self.ranks.raise_on_all():
            if checkpoint is None:  # the run was killed before its first snapshot
                checkpoint = reload_initial_checkpoint(
                    self.recipe, self.dataset.class_names, run=self.run.path, report=self.progress.message
                )
        if self._checkpoint is None and self.ranks.count > 1:
            check_consistent(self.ranks, weights_fact(checkpoint))
        with self.ranks.raise_on_all():
            if self.recipe.data.folds and self.ranks.is_first:  # so that the folds start from the same weights
                save_checkpoint(checkpoint, self.run.layout.fold_initial)
        state.initialise_from(checkpoint.weights)
        self._checkpoint = None  # frees its memory

    def _newest_snapshot(self) -> Snapshot | None:
        """Return the newest valid snapshot: the first process finds it, the others read the same one."""
        path = self.run.layout.resume
        snapshot: Snapshot | None = None
        with self.ranks.raise_on_all():
            snapshot = self._snapshots.latest() if self.ranks.is_first else None
            damaged = self.run.layout.damaged_snapshots() if self.ranks.is_first and snapshot is None else []
            if damaged:
                raise CheckpointError(
                    f"{self.run.path}: no valid snapshot is left ({len(damaged)} damaged), so this run cannot be resumed. "
                    f"checkpoints/last can still be used. To train from the start again, delete {path}."
                )
        step = self.ranks.broadcast(None if snapshot is None else snapshot.step)
        with self.ranks.raise_on_all():
            if step is not None and snapshot is None:
                snapshot = self._snapshots.read(step)
        return snapshot

    def wrapped(self, state: TrainState) -> Callable[..., Tensor]:
        """Return the model as the loop calls it: wrapped in DDP and compiled as required."""
        module: nn.Module = state.model
        if self.ranks.count > 1 and not state.is_sharded:
            module = wrap_ddp(state.model, self.ranks)
        return torch.compile(module) if self.recipe.compile else module

    def agree(self, stop: StopSignal, step: int | None = None) -> Agreement:
        """Return what all processes do next: a signal to any of them applies to all, and the first one's clock decides.

        After `step` steps, the number of steps may be revised; None leaves it.
        """
        num_steps = None if step is None else self.plan.wanted_steps(step)
        values = [float(stop.received or 0), float(self._is_save_overdue()), float(num_steps or 0)]
        signals, overdue, lengths = self.ranks.gather(values).T
        return Agreement(int(signals.max()) or None, bool(overdue[0]), int(lengths[0]) or None)

    def _is_save_overdue(self) -> bool:
        minutes = self.recipe.saving.every_minutes
        return minutes is not None and time.monotonic() - self._last_save > 60 * minutes

    def validate(self, state: TrainState, history: TrainingHistory, *, speed: float, stop: StopSignal) -> None:
        """Score the averaged weights, add a row to the results, and save the weights if they are the best so far.

        Raises:
            DivergedError: the state or the logits hold a value that is not finite.
        """
        with self.ranks.raise_on_all():
            state.check_finite()

        def check() -> None:
            self.agree(stop).check()

        metrics: Metrics | None = None
        try:
            if "validation" in self.dataset.splits:
                metrics = validate(state, self.pipeline, self.recipe, self.cached, ranks=self.ranks, check=check)
        except CheckpointError as error:  # logits that are not finite, identical on all processes
            with self.ranks.raise_on_all():
                raise DivergedError(f"Step {state.step}: {error}") from error
        epoch = self.plan.epoch_at(state.step)
        row = history.row(
            metrics,
            epoch=epoch,
            step=state.step,
            learning_rate=self.recipe.optimizer.learning_rate * self.plan.learning_rate_factor(state.step - 1),
            speed=speed,
        )
        history.results.append(row)
        history.validated_step = state.step
        try:
            if self.ranks.is_first:
                self.run.write_results(history.results)
        except AllmlpError as error:
            self.progress.message(f"{error} Training continues.")
        self.progress.epoch(row)
        if history.is_better(metrics, self.recipe.best_by, is_last=state.step == self.plan.num_steps):
            self._save_weights(state, "best")  # first: if it fails, the history keeps the best weights so far
            history.best_epoch, history.best_step = epoch, state.step
            self.best_metrics = metrics
            if metrics is not None:
                history.best_top1, history.best_loss = metrics.top1, metrics.loss
        self.plan.validation_ended(state.step, history, self.progress)

    def is_save_due(self, step: int, agreed: Agreement) -> bool:
        """Return whether to save a snapshot after `step` steps: at the end, on a signal, or as the recipe sets."""
        every = self.recipe.saving.every_steps
        is_requested = agreed.signal is not None or agreed.is_save_overdue or step == self.plan.num_steps
        return is_requested or (every is not None and step > 0 and step % every == 0)

    def save(self, state: TrainState, history: TrainingHistory) -> None:
        """Save a snapshot and checkpoints/last in the background.

        Raises:
            DivergedError: the state holds a value that is not finite.
        """
        with self.ranks.raise_on_all():
            state.check_finite()
        self._save_unchecked(state, history)

    def _save_unchecked(self, state: TrainState, history: TrainingHistory) -> None:
        """Save as `save` does a state known to be finite. Only a sharded state needs the other processes."""
        self._last_save = time.monotonic()
        if not self.ranks.is_first and not state.is_sharded:
            return
        tensors = state.tensors()
        if self.ranks.is_first:
            # What history calls the best is part of the snapshot: checkpoints/best may be older, newer, or not written.
            best = self.checkpoints.best_tensors() if history.best_epoch else {}
            metadata = history.to_metadata() | {_SETTINGS: result_settings(self.recipe)}
            self._snapshots.write(state.step, tensors | best, metadata)
        if state.step:
            self._save_weights(state, "last")
            if not history.best_epoch:
                self._save_weights(state, "best")

    @contextlib.contextmanager
    def saving_on_error(self, state: TrainState, history: TrainingHistory) -> Iterator[None]:
        """Save the training state if an exception ends the block, and wait until everything is written.

        Raises:
            BaseException: the exception that ended the block, or the failure of another process if that came first.
        """
        try:
            yield
        except BaseException as error:
            # The snapshot for a signal exists already, unless the signal came during validation. Values that are not finite are
            # never saved. All processes must take part in saving a sharded state, which they can only if they all end here.
            cause = self.ranks.explain(error)
            can_save = is_shared(cause) or not state.is_sharded
            if can_save and state.is_consistent and state.step and not state.nonfinite_names():
                self._save_unchecked(state, history)
            if not isinstance(cause, Stopped | KeyboardInterrupt):
                self.log(f"an error ended the run at step {state.step}: {cause}")
            reason = cause.cause if isinstance(cause, ReportedError) else cause
            if isinstance(reason, DivergedError) and self.ranks.is_first:
                self.run.write_divergence(reason)
            if cause is not error:
                raise cause from error
            raise
        finally:
            self.wait_for_saves()

    def wait_for_saves(self) -> None:
        """Wait until nothing is being written."""
        self.checkpoints.wait()
        self._snapshots.wait()

    def log(self, line: str) -> None:
        """Append a line to log.txt, on the first process only; a full disk must not end the training."""
        if self.ranks.is_first:
            with contextlib.suppress(OSError):
                self.run.log(line)

    def _save_weights(self, state: TrainState, name: CheckpointName) -> None:
        if not self.ranks.is_first and not state.is_sharded:
            return
        with state.averaged():
            weights = state.weights()
        if self.ranks.is_first:
            self.checkpoints.write(name, self._checkpoint_of(weights, step=state.step))

    def _checkpoint_of(self, weights: Mapping[str, Tensor], *, step: int) -> Checkpoint:
        initial = self.recipe.transfer.checkpoint
        return Checkpoint(
            config=self.recipe.model,
            weights=weights,
            preprocessing=self.pipeline.preprocessing,
            class_names=self.pipeline.class_names,
            source=f"trained by allmlp, recipe {self.recipe.name}, seed {self.recipe.seed}, step {step}"
            + ("" if initial is None else f", from {initial}"),
        )
