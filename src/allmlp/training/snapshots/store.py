"""The snapshots of a run: written in the background, verified when read, deleted when old."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from allmlp.errors import CheckpointError
from allmlp.io.atomic_write import reason_of, remedy_for, remove, remove_leftovers, rename
from allmlp.io.display import Report
from allmlp.runs.layout import DAMAGED_PREFIX, snapshot_name, snapshot_step
from allmlp.training.snapshots.background_writer import BackgroundWriter
from allmlp.training.snapshots.format import (
    Content,
    Snapshot,
    check_snapshot,
    read_snapshot,
    snapshot_content,
    write_snapshot,
)

__all__ = ["Snapshot", "SnapshotStore"]


class SnapshotStore:
    """The snapshots of one run, folders step-000000123 in `directory`, written by a thread during training.

    The two newest valid snapshots are kept, and all whose step is a multiple of `keep_every`. Only one process at a time may
    write, which the lock of the run folder ensures.

    `warn` receives one line per failure that training survives, also from the writing thread.
    """

    def __init__(self, directory: Path, *, keep_every: int | None, warn: Report) -> None:
        if keep_every is not None and keep_every < 1:
            raise ValueError(f"keep_every is {keep_every}")
        self._directory = directory
        self._keep_every = keep_every
        self._writer = BackgroundWriter(warn)
        self._valid: set[int] = set()  # steps whose snapshots this process wrote or verified

    def write(self, step: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Write a snapshot in the background, after waiting for a write in progress.

        The tensors must be on the CPU and must not change any more; they are held until they are written. `metadata` must be
        JSON without NaN. Invalid metadata or an unsupported tensor is a bug and raises ValueError at once. Failures to write
        are reported through `warn`. A step that has a valid snapshot is not written again.
        """
        content = snapshot_content(step, tensors, metadata)
        self._writer.submit(self._path(step), lambda: self._save_and_delete_old(content))

    def wait(self) -> None:
        """Wait until nothing is being written. A bug that ended a write is raised here."""
        self._writer.wait()

    def latest(self) -> Snapshot | None:
        """Return the newest valid snapshot, or None; newer ones that are damaged are renamed to damaged-step-...

        Raises:
            CheckpointError: the folder cannot be read, so its content is unknown.
        """
        self.wait()
        try:
            steps = self._steps()
        except OSError as error:
            raise CheckpointError(
                f"{self._directory}: cannot be read ({reason_of(error)}), so the run cannot be resumed. "
                "Make it readable, or start another run."
            ) from error
        for step in steps:
            try:
                snapshot = read_snapshot(self._path(step), step)
            except CheckpointError as error:
                self._set_aside(step, error)
            else:
                self._valid.add(step)
                return snapshot
        return None

    def read(self, step: int) -> Snapshot:
        """Read the snapshot of a step that another process found to be valid.

        Raises:
            CheckpointError: it is damaged; the message is one line without its path.
        """
        return read_snapshot(self._path(step), step)

    def _save_and_delete_old(self, content: Content) -> None:
        if self._save(content):
            self._delete_old()

    def _save(self, content: Content) -> bool:
        path = self._path(content.step)
        try:
            remove_leftovers(self._directory, prefix="step-")  # no other process is writing here
            if not self._is_valid(content.step):
                write_snapshot(path, content)
                self._valid.add(content.step)
        except (OSError, MemoryError) as error:
            reason, advice = "out of memory", ""
            if isinstance(error, OSError):
                reason, advice = reason_of(error), f" {remedy_for(error)}."
            self._writer.report(
                f"{path}: step {content.step:,} could not be saved ({reason}). "
                f"Training continues; {self._newest_valid_text()}.{advice}"
            )
            return False
        return True

    def _delete_old(self) -> None:
        """Delete the snapshots older than the two newest valid ones, except multiples of `keep_every`."""
        num_valid = 0
        try:
            for step in self._steps():
                if num_valid < 2:
                    num_valid += self._is_valid(step)
                elif self._keep_every is None or step % self._keep_every:
                    remove(self._path(step))
                    self._valid.discard(step)
        except OSError as error:
            self._writer.report(
                f"{self._directory}: old snapshots could not be deleted ({reason_of(error)}). Training continues; "
                "they take up disk space until this is fixed."
            )

    def _is_valid(self, step: int) -> bool:
        path = self._path(step)
        if not path.exists():
            return False
        if step not in self._valid:
            try:
                check_snapshot(path, step)
            except CheckpointError as error:
                self._set_aside(step, error)
                return False
            self._valid.add(step)
        return True

    def _set_aside(self, step: int, damage: CheckpointError) -> None:
        path = self._path(step)
        name = new_name = f"{DAMAGED_PREFIX}{path.name}"
        number = 2
        while path.with_name(new_name).exists():
            new_name, number = f"{name}-{number}", number + 1
        try:
            rename(path, path.with_name(new_name))
        except OSError as error:
            outcome = f"It could not be renamed to {new_name} ({reason_of(error)})"
        else:
            outcome = f"It was renamed to {new_name}"
        self._valid.discard(step)
        self._writer.report(f"{path}: damaged ({damage}). {outcome}; the previous snapshot is used, if there is one.")

    def _newest_valid_text(self) -> str:
        try:
            step = next((step for step in self._steps() if self._is_valid(step)), None)
        except OSError:
            step = None
        return "there is no valid snapshot yet" if step is None else f"the snapshot of step {step:,} is still valid"

    def _steps(self) -> list[int]:
        """Return the steps that have a snapshot, valid or not, newest first."""
        try:
            names = [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []
        steps = [step for name in names if (step := snapshot_step(name)) is not None]
        return sorted(steps, reverse=True)

    def _path(self, step: int) -> Path:
        return self._directory / snapshot_name(step)
