"""Background writing of checkpoints/best and checkpoints/last, the weights of a run for use."""

from allmlp.checkpoints import Checkpoint, save_checkpoint
from allmlp.errors import AllmlpError
from allmlp.io.display import Report
from allmlp.runs.layout import CheckpointName, RunLayout
from allmlp.training.snapshots.background_writer import BackgroundWriter

__all__ = ["CheckpointWriter"]


class CheckpointWriter:
    """Writes a run's checkpoints in a thread. A write that fails, for example on a full disk, is retried at the end of the run.

    `warn` receives one line per failure that training survives, also from the writing thread.
    """

    def __init__(self, run: RunLayout, *, warn: Report) -> None:
        self._run = run
        self._writer = BackgroundWriter(warn)
        self._unwritten: dict[CheckpointName, Checkpoint] = {}

    def write(self, name: CheckpointName, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in the background, after waiting for a write in progress."""

        def write() -> None:
            self._unwritten[name] = checkpoint
            try:
                save_checkpoint(checkpoint, self._run.checkpoint(name))
                del self._unwritten[name]
            except AllmlpError as error:
                self._writer.report(f"{error} Training continues.")

        self._writer.submit(self._run.checkpoint(name), write)

    def wait(self) -> None:
        """Wait until nothing is being written. A bug that ended a write is raised here."""
        self._writer.wait()

    def retry_failed(self) -> None:
        """Retry the checkpoints that could not be written.

        Raises:
            ConfigError: a write fails again.
        """
        self.wait()
        for name, checkpoint in self._unwritten.items():
            save_checkpoint(checkpoint, self._run.checkpoint(name))
