"""The weights of a run for use, checkpoints/best and checkpoints/last, written in the background."""

from allmlp.checkpoints import Checkpoint, save_checkpoint
from allmlp.errors import AllmlpError
from allmlp.io.display import Report
from allmlp.runs.layout import CheckpointName, RunLayout
from allmlp.training.snapshots.background_writer import BackgroundWriter

__all__ = ["CheckpointWriter"]


class CheckpointWriter:
    """Writes a run's checkpoints in a thread; what a full disk, say, prevents is tried again at the end of the run.

    `warn` gets one line for each failure that training survives. It is called from the writing thread, too.
    """

    def __init__(self, run: RunLayout, *, warn: Report) -> None:
        self._run = run
        self._writer = BackgroundWriter(warn)
        self._unwritten: dict[CheckpointName, Checkpoint] = {}

    def write(self, name: CheckpointName, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in the background; when one is being written, wait for it first."""

        def write() -> None:
            self._unwritten[name] = checkpoint
            try:
                save_checkpoint(checkpoint, self._run.checkpoint(name))
                del self._unwritten[name]
            except AllmlpError as error:
                self._writer.report(f"{error} Training continues.")

        self._writer.submit(self._run.checkpoint(name), write)

    def wait(self) -> None:
        """Return when nothing is being written. A bug that ended a write is raised here."""
        self._writer.wait()

    def write_what_failed(self) -> None:
        """Try once more to write the checkpoints that could not be written.

        Raises:
            ConfigError: it fails again.
        """
        self.wait()
        for name, checkpoint in self._unwritten.items():
            save_checkpoint(checkpoint, self._run.checkpoint(name))
