"""The run folder: everything needed to inspect a run later or to resume it."""

import contextlib
import csv
import io
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from allmlp.config import to_dict
from allmlp.data import ImageDataset, absolute_source, write_skipped
from allmlp.errors import AllmlpError, ConfigError, DivergedError
from allmlp.io.atomic_write import remove_leftovers, write_json, write_text
from allmlp.io.display import escape, escape_lines, shorten
from allmlp.io.path_problem import check_regular, path_problem
from allmlp.io.remote_address import is_address
from allmlp.metrics import Metrics
from allmlp.runs.layout import RunLayout
from allmlp.runs.photo_digests import write_photo_digests
from allmlp.training.recipe.recipe import ResolvedRecipe

__all__ = ["RESULT_COLUMNS", "RunDirectory", "decoded_fingerprint", "lock_run", "refuse_used_folder"]

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

_SECONDS_TO_APPEAR = 20.0  # of a file that another machine wrote to a shared disk


def refuse_used_folder(path: Path, *, resume: bool = False) -> None:
    """Check that a new run may be written to `path`.

    `resume` also accepts a folder whose run was killed while its description was being written: it holds no training yet.

    Raises:
        ConfigError: `path` is a file, is not empty, or cannot be created.
    """
    if problem := "this is an address" if is_address(path) else path_problem(path):
        raise ConfigError(f"{shorten(escape(path), 200)}: {problem}. Choose another folder with --out.")
    lock = RunLayout(path).lock
    if path.is_dir() and any(entry != lock for entry in path.iterdir()):
        if resume and all(_is_description(entry) for entry in path.iterdir()):
            return
        is_run = RunLayout(path).recipe.exists()
        reason = "holds another run" if is_run else "is not empty"
        advice = f", or resume the run with --resume {path}" if is_run else ""
        raise ConfigError(f"{path}: {reason}; nothing is ever overwritten. Choose another folder with --out{advice}.")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: this is a file; a run needs a folder. Choose another name with --out.")
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"{path}: {existing} is not writable. Choose another folder with --out.")


@contextlib.contextmanager
def lock_run(path: Path, *, is_new: bool, resume: bool = False) -> Iterator[None]:
    """Create the run folder if it is missing and hold its lock. With several processes, only the first one calls this.

    Raises:
        ConfigError: the folder of a new run is in use, or another training process holds the lock.
    """
    layout = RunLayout(path)
    if is_new:
        refuse_used_folder(path, resume=resume)
    lock = FileLock(layout.lock)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"{path}: another training process is using this run. Wait for it or stop it, then resume the run."
        ) from error
    except OSError as error:
        advice = (
            "Choose another one with --out." if is_new else "Make it writable, or copy the run and resume the copy."
        )
        raise ConfigError(f"{path}: cannot write to this folder ({error.strerror or error}). {advice}") from error
    try:
        for folder in (path, layout.plots, *layout.checkpoints.glob("*")):  # we hold the lock: nobody is writing them
            remove_leftovers(folder, prefix="")
        yield
    finally:
        with contextlib.suppress(OSError):
            layout.lock.unlink()  # before the release: the next process creates a new one
        lock.release()


class RunDirectory:
    """Writes the files of one run, each atomically. With several processes, only the first one writes.

    Attributes:
        path: the run folder.
        layout: the paths of its files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layout = RunLayout(path)
        self._log_lock = threading.Lock()

    def describe(
        self,
        recipe: ResolvedRecipe,
        dataset: ImageDataset,
        environment: Mapping[str, str],
        digests: Mapping[str, Sequence[str]],
        decoded: str | None,
    ) -> None:
        """Write the description of the run before it starts. For `digests` and `decoded` see `record_photos`."""
        write_json(self.layout.environment, dict(environment))
        write_text(self.layout.class_names, "".join(f"{name}\n" for name in dataset.class_names))
        splits = {name: list(split.sample_ids) for name, split in dataset.splits.items()}
        write_json(self.layout.split, splits)
        self.record_photos(dataset, digests, decoded)
        if dataset.skipped:
            write_skipped(self.layout.skipped, dataset.skipped)
        write_json(self.layout.data, {"source": absolute_source(dataset), **dataset.options})
        write_json(self.layout.notes, list(dataset.notes))
        write_json(self.layout.recipe, to_dict(recipe))  # last: a folder with a recipe can be resumed

    def record_photos(
        self, dataset: ImageDataset, digests: Mapping[str, Sequence[str]], fingerprint: str | None
    ) -> None:
        """Record the digests of all photos, unless they are recorded, and that the data set with this fingerprint was decoded.

        A fingerprint of None records nothing.
        """
        if not self.layout.photos.exists():
            sample_ids = {name: split.sample_ids for name, split in dataset.splits.items()}
            write_photo_digests(self.layout.photos, sample_ids, digests)
        if fingerprint is not None and fingerprint != decoded_fingerprint(self.layout):
            write_json(self.layout.decoded, {"fingerprint": fingerprint})

    def check_visible(self) -> None:
        """Wait until this process sees the description that the first one wrote; some network disks take seconds.

        Raises:
            ConfigError: it does not appear: the folder is on another disk here.
        """
        deadline = time.monotonic() + _SECONDS_TO_APPEAR
        while not self.layout.recipe.exists():
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"{self.path}: this process does not see the files that process 0 wrote there. The run folder must be "
                    "on a disk that all machines share; choose one with --resume or --out."
                )
            time.sleep(0.1)

    def write_results(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write results.csv."""
        text = io.StringIO()
        writer = csv.DictWriter(text, RESULT_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _rounded(row[name]) for name in RESULT_COLUMNS} for row in rows)
        write_text(self.layout.results, text.getvalue())

    def log(self, line: str) -> None:
        """Append a line to log.txt and hand it to the kernel before returning. Thread-safe.

        Raises:
            OSError: it cannot be written, for example because the disk is full. A partial line does not corrupt the next one.
        """
        with self._log_lock:
            _append_line(self.layout.log, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z {escape_lines(line)}")

    def write_divergence(self, error: DivergedError) -> None:
        """Write diverged.json, by which a resumed sweep knows that this rate diverged; a full disk must not hide the error."""
        with contextlib.suppress(AllmlpError):
            write_json(self.layout.divergence, {"error": str(error)})

    def write_metrics(self, evaluations: Mapping[str, Metrics], *, figures: Mapping[str, Any]) -> None:
        """Write metrics.json: the figures of the run and all evaluations of its best checkpoint."""
        write_json(
            self.layout.metrics,
            {**figures, "evaluations": {name: metrics.to_dict() for name, metrics in evaluations.items()}},
        )


def decoded_fingerprint(run: RunLayout) -> str | None:
    """Return the fingerprint of the data set whose photos have all been decoded; None if unknown."""
    try:
        check_regular(run.decoded)
        fingerprint = json.loads(run.decoded.read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return fingerprint if isinstance(fingerprint, str) else None


def _is_description(entry: Path) -> bool:
    """Return whether `describe` may leave this file behind when killed before the recipe is renamed into place."""
    layout = RunLayout(entry.parent)
    if entry in (layout.lock, *layout.description[:-1]):
        return True
    partial_prefixes = tuple(f".{path.name}." for path in layout.description)
    return entry.name.startswith(partial_prefixes) and entry.name.endswith(".part")


def _append_line(path: Path, line: str) -> None:
    with path.open("a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        is_torn = end > 0 and file.read(1) != b"\n"  # after a kill, a power cut or a full disk
        file.write(("\n" * is_torn + line + "\n").encode("utf-8", "backslashreplace"))


def _rounded(value: float) -> float | str:
    if value != value:  # not measured in this epoch
        return ""
    return value if isinstance(value, int) else float(f"{value:.6g}")
