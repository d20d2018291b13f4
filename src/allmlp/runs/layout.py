"""The files of a run folder and of a learning-rate sweep, by name.

A run folder, in the order in which it is written:

    .lock                      held by the process that trains
    environment.json           versions, device, number of processes
    class_names.txt            one class per line, in the model's order
    split.json                 sample IDs by split, the validation photos held out included
    data.json                  {"source": where the photos were}
    decoded.json               fingerprint of the data set of which every photo was decoded: a resumed run need not again
    recipe.json                the recipe as resolved; a folder that has it can be continued
    log.txt                    what happened, one line per event; a resumed run appends
    results.csv                one row per validation
    resume/step-000000123/     snapshots: what training resumes from
    checkpoints/best, last     weights for use: the best by validation top-1, and the newest
    diverged.json              the error, where a value that is not finite ended the run
    plots/, report.html        the report
    metrics.json               the scores of checkpoints/best; comes last: a run that has it is finished

A sweep's folder holds one run folder lr-RATE per learning rate, learning_rates.json (all scores and the best run) and
learning_rates.png.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["CheckpointName", "RunLayout", "SweepLayout", "snapshot_name", "snapshot_step"]

CheckpointName = Literal["best", "last"]


@dataclass(frozen=True)
class RunLayout:
    """Where everything is in the run folder `path`, whether it exists or not."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def class_names(self) -> Path:
        return self.path / "class_names.txt"

    @property
    def split(self) -> Path:
        return self.path / "split.json"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def decoded(self) -> Path:
        return self.path / "decoded.json"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def results(self) -> Path:
        return self.path / "results.csv"

    @property
    def resume(self) -> Path:
        return self.path / "resume"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def divergence(self) -> Path:
        return self.path / "diverged.json"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def description(self) -> tuple[Path, ...]:
        """The files that say what the run is, in the order of writing: the recipe is last."""
        return self.environment, self.class_names, self.split, self.data, self.decoded, self.recipe

    def checkpoint(self, name: CheckpointName) -> Path:
        return self.checkpoints / name

    @classmethod
    def around(cls, checkpoint: Path) -> Iterator["RunLayout"]:
        """Yield the folders that may be the run of a checkpoint: itself, or the one whose checkpoints it is among."""
        folder = (checkpoint if checkpoint.is_dir() else checkpoint.parent).absolute()
        yield cls(folder)
        for place in (folder, folder.parent):
            if place == cls(place.parent).checkpoints:
                yield cls(place.parent)


@dataclass(frozen=True)
class SweepLayout:
    """Where everything is in the folder `path` of a learning-rate sweep: one run per learning rate."""

    path: Path

    @property
    def scores(self) -> Path:
        return self.path / "learning_rates.json"

    @property
    def plot(self) -> Path:
        return self.path / "learning_rates.png"

    def run(self, learning_rate: float) -> Path:
        return self.path / f"lr-{learning_rate:g}"

    def runs(self) -> list[Path]:
        """Return the run folders that exist, sorted by name."""
        return sorted(self.path.glob("lr-*/"))


_SNAPSHOT_NAME = re.compile(r"step-([0-9]{9,18})")


def snapshot_name(step: int) -> str:
    """Return the name of the folder in `RunLayout.resume` that holds the snapshot after `step` steps."""
    return f"step-{step:09d}"


def snapshot_step(name: str) -> int | None:
    """Return the step of a snapshot's folder; None for any other name."""
    match = _SNAPSHOT_NAME.fullmatch(name)
    step = None if match is None else int(match[1])
    return step if step is not None and snapshot_name(step) == name else None
