"""File names in a run folder and in the folder of a learning-rate sweep.

The files of a run folder, in the order in which they are written:

    .lock                      held by the training process
    environment.json           versions, device, numbers of processes and threads
    class_names.txt            one class per line, in the model's order
    split.json                 sample IDs by split, held-out validation photos included
    photos.csv                 split, sample ID and SHA-256 of every photo
    skipped.csv                split, sample ID and problem of every photo that was left out; missing if there is none
    data.json                  {"source": where the photos were}, and the options that say how its folders are read
    decoded.json               fingerprint of the data set after every photo was decoded once; resuming skips that check
    notes.json                 what was left out or decided when the photos were opened, one text each: the report shows them
    recipe.json                the resolved recipe; a folder that has it can be continued
    log.txt                    one line per event; a resumed run appends to it
    results.csv                one row per validation
    resume/step-000000123/     snapshots from which training resumes, with the best weights so far
    checkpoints/best, last     weights for use: the best by the rule of the recipe (best_by), and the newest
    loggers/NAME/              files of an experiment tracker (--logger): events of TensorBoard, run ID of W&B or MLflow
    diverged.json              the error, if a value that is not finite ended the run
    folds/fold-1.npz           cross-validation: the sample IDs that a fold held out, their logits, how close their features
                               are to those of its training photos, and the revisions of its length; next to it, while the
                               folds train, the fold's run and initial/, a copy of the initial checkpoint
    predictions.csv            the prediction of checkpoints/best for every validation and test photo; in cross-validation,
                               that of the fold that held the photo out
    plots/, report.html        the report; a run that is stopped leaves one, too
    metrics.json               the scores of checkpoints/best; written last, so that a run that has it is finished

A sweep folder holds one run folder lr-RATE per learning rate, learning_rates.json (all scores and the best run) and
learning_rates.png.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "DAMAGED_PREFIX",
    "CheckpointName",
    "RunLayout",
    "SweepLayout",
    "new_run_folder",
    "snapshot_name",
    "snapshot_step",
]

CheckpointName = Literal["best", "last"]

DAMAGED_PREFIX = "damaged-"
"""Starts the names of damaged snapshots in `RunLayout.resume`."""


@dataclass(frozen=True)
class RunLayout:
    """Paths of all files in the run folder `path`, whether or not they exist."""

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
    def photos(self) -> Path:
        return self.path / "photos.csv"

    @property
    def skipped(self) -> Path:
        return self.path / "skipped.csv"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def decoded(self) -> Path:
        return self.path / "decoded.json"

    @property
    def notes(self) -> Path:
        return self.path / "notes.json"

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

    def damaged_snapshots(self) -> list[Path]:
        """Return the snapshots that were set aside because they are damaged."""
        return sorted(self.resume.glob(f"{DAMAGED_PREFIX}*"))

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def loggers(self) -> Path:
        return self.path / "loggers"

    @property
    def divergence(self) -> Path:
        return self.path / "diverged.json"

    @property
    def fold_initial(self) -> Path:
        """The checkpoint from which the run and its folds start; it is removed once all of them are done."""
        return self.path / "folds" / "initial"

    def fold_run(self, number: int) -> Path:
        """The run folder of a fold of cross-validation, counted from 1; it is removed once its predictions are saved."""
        return self.path / "folds" / f"fold-{number}"

    def fold_predictions(self, number: int) -> Path:
        return self.path / "folds" / f"fold-{number}.npz"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.csv"

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
        """The files that describe the run, in the order in which they are written: the recipe is last."""
        return (
            self.environment,
            self.class_names,
            self.split,
            self.photos,
            self.skipped,
            self.data,
            self.decoded,
            self.notes,
            self.recipe,
        )

    def checkpoint(self, name: CheckpointName) -> Path:
        return self.checkpoints / name

    @classmethod
    def around(cls, checkpoint: Path) -> Iterator["RunLayout"]:
        """Yield the folders that may be the run of a checkpoint: its own folder, and the one above checkpoints/."""
        folder = (checkpoint if checkpoint.is_dir() else checkpoint.parent).absolute()
        yield cls(folder)
        for candidate in (folder, folder.parent):
            if candidate == cls(candidate.parent).checkpoints:
                yield cls(candidate.parent)


@dataclass(frozen=True)
class SweepLayout:
    """Paths of all files in the folder `path` of a learning-rate sweep, which has one run per learning rate."""

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
        """Return the run folders that exist, sorted by name; a folder without any is not a sweep."""
        return sorted(self.path.glob("lr-*/"))


def new_run_folder(name: str) -> Path:
    """Return the first runs/<name>-<number> that does not exist."""
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


_SNAPSHOT_NAME = re.compile(r"step-([0-9]{9,18})")


def snapshot_name(step: int) -> str:
    """Return the folder name, in `RunLayout.resume`, of the snapshot after `step` steps."""
    return f"step-{step:09d}"


def snapshot_step(name: str) -> int | None:
    """Return the step in the name of a snapshot folder; None for any other name."""
    match = _SNAPSHOT_NAME.fullmatch(name)
    step = None if match is None else int(match[1])
    return step if step is not None and snapshot_name(step) == name else None
