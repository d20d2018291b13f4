"""Background writing of checkpoints/best and checkpoints/last, the weights of a run for use."""

from collections.abc import Mapping

import torch
from torch import Tensor

from allmlp.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from allmlp.errors import AllmlpError, CheckpointError
from allmlp.io.display import Report
from allmlp.runs.layout import CheckpointName, RunLayout
from allmlp.training.snapshots.background_writer import BackgroundWriter

__all__ = ["CheckpointWriter", "split_best"]

_PREFIX = "best/"  # of the best weights among the tensors of a snapshot


class CheckpointWriter:
    """Writes a run's checkpoints in a thread. A write that fails, for example on a full disk, is retried at the end of the run.

    The best checkpoint also stays in memory: its weights are part of every snapshot, so that a resumed run has the best
    weights of its history even if checkpoints/best was changed or deleted. With several processes, only the first one holds
    them.

    `warn` receives one line per failure that training survives, also from the writing thread.
    """

    def __init__(self, run: RunLayout, *, warn: Report) -> None:
        self._run = run
        self._writer = BackgroundWriter(warn)
        self._best: Checkpoint | None = None
        self._unwritten: dict[CheckpointName, Checkpoint] = {}

    def write(self, name: CheckpointName, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in the background, after waiting for a write in progress. Its weights must stay unchanged."""

        def write() -> None:
            self._unwritten[name] = checkpoint
            try:
                save_checkpoint(checkpoint, self._run.checkpoint(name))
                del self._unwritten[name]
            except AllmlpError as error:
                self._writer.report(f"{error} Training continues.")

        self._writer.submit(self._run.checkpoint(name), write)
        if name == "best":
            self._best = checkpoint

    def best_tensors(self) -> dict[str, Tensor]:
        """Return the weights of the best checkpoint so far, by their names in a snapshot; empty if there is none."""
        return {} if self._best is None else {f"{_PREFIX}{name}": value for name, value in self._best.weights.items()}

    def wait(self) -> None:
        """Wait until nothing is being written. A bug that ended a write is raised here."""
        self._writer.wait()

    def finish(self) -> None:
        """Retry the checkpoints that could not be written, and make sure that checkpoints/best is the best checkpoint.

        Raises:
            ConfigError: a write fails again.
        """
        self.wait()
        for name, checkpoint in self._unwritten.items():
            save_checkpoint(checkpoint, self._run.checkpoint(name))
        if self._best is not None and not self._is_on_disk(self._best):
            save_checkpoint(self._best, self._run.checkpoint("best"))

    def _is_on_disk(self, best: Checkpoint) -> bool:
        try:
            found = load_checkpoint(self._run.checkpoint("best"))
        except CheckpointError:  # damaged, or deleted, since it was written
            return False
        return found.description == best.description and all(
            torch.equal(value, found.weights[name]) for name, value in best.weights.items()
        )


def split_best(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Divide the tensors of a snapshot into the training state and the weights of the best checkpoint, empty if it has none."""
    state = {name: value for name, value in tensors.items() if not name.startswith(_PREFIX)}
    best = {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}
    return state, best
