"""What continuing a run takes, saved so that no crash, full disk or flipped bit can lose it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from allmlp.errors import CheckpointError
from allmlp.io.atomic_write import reason_of, remove, remove_leftovers, rename
from allmlp.io.display import Report
from allmlp.runs.layout import snapshot_name, snapshot_step
from allmlp.training.snapshots.background_writer import BackgroundWriter
from allmlp.training.snapshots.format import Content, Snapshot, check_save, read_save, snapshot_content, write_save

__all__ = ["Snapshot", "SnapshotStore"]


class SnapshotStore:
    """The saves of one run, folders step-000000123 in `directory`, which a thread writes during training.

    Two verified ones at least are kept, once there are two, and every one whose step is a multiple of `keep_every`.
    One process at a time may write; the run folder's lock sees to that.

    `warn` gets one line for each failure that training survives. It is called from the writing thread, too.
    """

    def __init__(self, directory: Path, *, keep_every: int | None, warn: Report) -> None:
        if keep_every is not None and keep_every < 1:
            raise ValueError(f"keep_every is {keep_every}")
        self._directory = directory
        self._keep_every = keep_every
        self._writer = BackgroundWriter(warn)
        self._valid: set[int] = set()  # steps whose saves this process wrote or verified

    def write(self, step: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Save in the background; when a save is under way, wait for it first.

        The tensors, on the CPU, must not change any more; they are kept until they are written. `metadata` must be JSON;
        what is NaN in them, or a tensor of an odd kind, is a bug and raises ValueError at once. Whatever keeps the save
        from being written is reported through `warn`. A step that has a valid save is not written again.
        """
        content = snapshot_content(step, tensors, metadata)
        self._writer.submit(self._path(step), lambda: self._save_and_retire(content))

    def wait(self) -> None:
        """Return when no save is under way. A bug that ended one is raised here."""
        self._writer.wait()

    def latest(self) -> Snapshot | None:
        """Return the newest save that is as it was written; damaged ones are renamed to damaged-step-... on the way.

        None when there is none.

        Raises:
            CheckpointError: the folder cannot be read, so that its content is unknown.
        """
        self.wait()
        try:
            steps = self._steps()
        except OSError as error:
            raise CheckpointError(
                f"{self._directory}: cannot be read ({reason_of(error)}), so that the run cannot be continued. "
                "Make it readable, or start another run."
            ) from error
        for step in steps:
            try:
                state = read_save(self._path(step), step)
            except CheckpointError as error:
                self._set_aside(step, error)
            else:
                self._valid.add(step)
                return state
        return None

    def read(self, step: int) -> Snapshot:
        """Read the save of a step, as another process found it.

        Raises:
            CheckpointError: what is wrong with it, in one line without its path.
        """
        return read_save(self._path(step), step)

    def _save_and_retire(self, content: Content) -> None:
        if self._save(content):
            self._retire()

    def _save(self, content: Content) -> bool:
        path = self._path(content.step)
        try:
            remove_leftovers(self._directory, prefix="step-")  # no other process is writing here
            if not self._is_valid(content.step):
                write_save(path, content)
                self._valid.add(content.step)
        except (OSError, MemoryError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else "out of memory"
            self._writer.report(
                f"{path}: step {content.step:,} could not be saved ({reason}). "
                f"Training continues; {self._what_stays()}. Free some space or make the folder writable."
            )
            return False
        return True

    def _retire(self) -> None:
        """Delete the saves that are older than two valid ones, but for every n-th."""
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
                f"{self._directory}: old saves could not be deleted ({reason_of(error)}). Training continues; "
                "they take up space until this is fixed."
            )

    def _is_valid(self, step: int) -> bool:
        path = self._path(step)
        if not path.exists():
            return False
        if step not in self._valid:
            try:
                check_save(path, step)
            except CheckpointError as error:
                self._set_aside(step, error)
                return False
            self._valid.add(step)
        return True

    def _set_aside(self, step: int, damage: CheckpointError) -> None:
        path = self._path(step)
        name = new_name = f"damaged-{path.name}"
        number = 2
        while (path.with_name(new_name)).exists():
            new_name, number = f"{name}-{number}", number + 1
        try:
            rename(path, path.with_name(new_name))
        except OSError as error:
            outcome = f"It could not be renamed to {new_name} ({reason_of(error)})"
        else:
            outcome = f"It was renamed to {new_name}"
        self._valid.discard(step)
        self._writer.report(f"{path}: damaged ({damage}). {outcome}; the save before it is used, if there is one.")

    def _what_stays(self) -> str:
        try:
            step = next((step for step in self._steps() if self._is_valid(step)), None)
        except OSError:
            step = None
        return "there is no valid save yet" if step is None else f"the save of step {step:,} stays valid"

    def _steps(self) -> list[int]:
        """Return the steps that have a save, valid or not, the newest first."""
        try:
            names = [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []
        steps = [step for name in names if (step := snapshot_step(name)) is not None]
        return sorted(steps, reverse=True)

    def _path(self, step: int) -> Path:
        return self._directory / snapshot_name(step)
