"""The run folder: what a run leaves, so that everything about it can be looked up later, and continued."""

import contextlib
import csv
import io
import os
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from allmlp.config import to_dict
from allmlp.data import ImageDataset, lasting_source
from allmlp.errors import AllmlpError, ConfigError, DivergedError
from allmlp.io.atomic_write import remove_leftovers, write_json, write_text
from allmlp.metrics import Metrics
from allmlp.training.recipe.recipe import ResolvedRecipe

__all__ = ["RESULT_COLUMNS", "RunDirectory", "refuse_used_folder"]

RESULT_COLUMNS = (
    "epoch",
    "step",
    "seconds",
    "learning_rate",
    "train_loss",
    "validation_loss",
    "validation_top1",
    "validation_top5",
    "images_per_second",
)

_SECONDS_TO_APPEAR = 20.0
_LOCK_FILE = ".lock"
_LOG_FILE = "log.txt"
_BEFORE_RECIPE = ("environment.json", "class_names.txt", "split.json", "data.json")


def refuse_used_folder(path: Path, *, resume: bool = False) -> None:
    """Check that a new run may be written to `path`.

    `resume` also takes a folder whose run was killed as it was described: there is nothing in it yet.

    Raises:
        ConfigError: it is a file, it holds something, or it cannot be created.
    """
    if path.is_dir() and any(entry.name != _LOCK_FILE for entry in path.iterdir()):
        if resume and all(_is_description(entry.name) for entry in path.iterdir()):
            return
        is_run = (path / "recipe.json").exists()
        what = "holds another run" if is_run else "is not empty"
        advice = f", or continue it with --resume {path}" if is_run else ""
        raise ConfigError(f"{path}: {what}; nothing is ever overwritten. Choose another folder with --out{advice}.")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: this is a file; a run needs a folder. Choose another name with --out.")
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"{path}: {existing} is not writable. Choose another folder with --out.")


class RunDirectory:
    """Writes the files of one run; each is whole at any time. Holds the folder's lock until it is left.

    Of several processes one is the writer; to the others this is a place that nothing is written to.

    Raises:
        ConfigError: a used folder for a new run, or a folder that another trainer is at work on.
    """

    def __init__(self, path: Path, *, is_new: bool, resume: bool = False, is_writer: bool = True) -> None:
        self.path = path
        self._is_writer = is_writer
        self.results: list[dict[str, float]] = []
        self._log_lock = threading.Lock()
        self._log = "" if is_new else _read_if_there(path / _LOG_FILE)
        self._lock = FileLock(path / _LOCK_FILE)
        if not is_writer:
            return
        if is_new:
            refuse_used_folder(path, resume=resume)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(
                f"{path}: another trainer is at work on this run. Wait for it, or stop it, before you continue the run."
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be written to ({error.strerror or error}). Choose another folder with --out."
            ) from error
        for folder in (path, path / "plots", *(path / "checkpoints").glob("*")):  # the lock is ours: nobody writes them
            remove_leftovers(folder, prefix="")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self._is_writer:
            return
        with contextlib.suppress(OSError):
            (self.path / _LOCK_FILE).unlink()  # before it is released: who comes then makes a new one
        self._lock.release()

    def describe(self, recipe: ResolvedRecipe, dataset: ImageDataset, environment: Mapping[str, str]) -> None:
        """Write what the run is, before it begins."""
        if not self._is_writer:
            return
        write_json(self.path / "environment.json", dict(environment))
        write_text(self.path / "class_names.txt", "".join(f"{name}\n" for name in dataset.class_names))
        splits = {name: list(split.sample_ids) for name, split in dataset.splits.items()}
        write_json(self.path / "split.json", splits)
        write_json(self.path / "data.json", {"source": lasting_source(dataset)})
        write_json(self.path / "recipe.json", to_dict(recipe))  # last: a folder with a recipe can be continued

    def check_seen(self) -> None:
        """Check that this process sees what the writer has described; on some network disks that takes seconds.

        Raises:
            ConfigError: the folder lies on another disk here.
        """
        ends = time.monotonic() + _SECONDS_TO_APPEAR
        while not (self.path / "recipe.json").exists():
            if time.monotonic() > ends:
                raise ConfigError(
                    f"{self.path}: this process does not see what the first one wrote there. The run folder must lie on a "
                    "disk that all machines share; name one with --resume or --out."
                )
            time.sleep(0.1)

    def set_results(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write results.csv."""
        self.results = [{name: row[name] for name in RESULT_COLUMNS} for row in rows]
        if not self._is_writer:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, RESULT_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _rounded(value) for name, value in row.items()} for row in self.results)
        write_text(self.path / "results.csv", text.getvalue())

    def log(self, line: str) -> None:
        """Append a line to log.txt. Threads may call it."""
        if not self._is_writer:
            return
        with self._log_lock:
            self._append(line)

    def _append(self, line: str) -> None:
        self._log += f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z {line}\n"
        write_text(self.path / _LOG_FILE, self._log)

    def write_divergence(self, error: DivergedError) -> None:
        """Write diverged.json, by which a grid that goes on knows the rate; a full disk must not hide the error."""
        if self._is_writer:
            with contextlib.suppress(AllmlpError):
                write_json(self.path / "diverged.json", {"error": str(error)})

    def write_metrics(self, evaluations: Mapping[str, Metrics], *, facts: Mapping[str, Any]) -> None:
        """Write metrics.json: the run's figures and every evaluation of its best checkpoint."""
        if not self._is_writer:
            return
        write_json(
            self.path / "metrics.json",
            {**facts, "evaluations": {name: metrics.to_dict() for name, metrics in evaluations.items()}},
        )


def _is_description(name: str) -> bool:
    """Whether `describe` leaves such a file when it is killed before the recipe has its name."""
    halves = tuple(f".{file}." for file in (*_BEFORE_RECIPE, "recipe.json"))
    return name in (_LOCK_FILE, *_BEFORE_RECIPE) or (name.startswith(halves) and name.endswith(".part"))


def _read_if_there(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _rounded(value: float) -> float | str:
    if value != value:  # not measured in this epoch
        return ""
    return value if isinstance(value, int) else float(f"{value:.6g}")
