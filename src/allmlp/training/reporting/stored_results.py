"""Results of a run as its folder has them, at any time: epochs, scores, notes, and what became of the run."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from allmlp.errors import ConfigError
from allmlp.io.display import escape
from allmlp.io.path_problem import check_regular, path_advice
from allmlp.runs.layout import RunLayout
from allmlp.runs.saved_notes import read_notes
from allmlp.training.stored_run import StoredRun, stored_run

__all__ = ["best_epoch", "read_metrics", "read_results", "require_run", "run_notes", "run_state"]


def require_run(path: Path) -> StoredRun:
    """Return the run in a folder.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    stored = stored_run(path)
    if stored is None:
        what = (
            "this folder holds no run."
            if path.is_dir()
            else f"there is no such run folder. {path_advice(path)}".rstrip()
        )
        raise ConfigError(
            f"{escape(path)}: {what} A run folder is what `allmlp train` or `allmlp finetune` writes; it holds "
            f"{RunLayout(path).recipe.name}."
        )
    return stored


def read_results(path: Path) -> list[dict[str, float]]:
    """Return the rows of results.csv of a run; empty before its first validation. A cell without a value is NaN.

    Raises:
        ConfigError: the file cannot be read, or is not a table of numbers.
    """
    results = RunLayout(path).results
    if not results.exists():
        return []
    try:
        check_regular(results)
        with results.open(encoding="utf-8", newline="") as file:
            rows = [
                {name: float(cell) if cell else math.nan for name, cell in row.items()}
                for row in csv.DictReader(file, strict=True)
            ]
        if not all(math.isfinite(row["epoch"]) for row in rows):
            raise ValueError("an epoch is missing")
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise ConfigError(f"{results}: cannot be read as the results of a run ({error}). Restore it.") from error
    return rows


def read_metrics(path: Path) -> dict[str, Any]:
    """Return metrics.json of a finished run; empty if it is not finished.

    Raises:
        ConfigError: the file cannot be read, or is not what training writes.
    """
    metrics = RunLayout(path).metrics
    if not metrics.exists():
        return {}
    try:
        check_regular(metrics)
        values = json.loads(metrics.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or not isinstance(values.get("evaluations"), dict):
            raise ValueError("expected an object with evaluations")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{metrics}: cannot be read ({error}). Delete it and resume the run to repeat its end from the last snapshot."
        ) from error
    return values


def run_notes(path: Path, opened: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the notes of a run: on its photos, from when it started, and what its time budget left out.

    Runs of older versions have no notes; `opened` are those of their photos now.

    Raises:
        ConfigError: a file of the run cannot be read.
    """
    notes, cut_short = read_notes(RunLayout(path).notes), read_metrics(path).get("cut_short")
    return (*(opened if notes is None else notes), *([str(cut_short)] if cut_short else []))


def run_state(stored: StoredRun) -> Literal["finished", "diverged", "in training", "stopped"]:
    """Return what became of a run so far; "stopped" if it was killed, too."""
    if stored.is_finished:
        return "finished"
    if stored.is_diverged:
        return "diverged"
    return "in training" if _is_locked(RunLayout(stored.path).lock) else "stopped"


def best_epoch(results: list[dict[str, float]]) -> int | None:
    """Return the epoch of the best checkpoint: highest validation top-1, ties by lower loss, then the first."""
    rows = [row for row in results if math.isfinite(row.get("validation_top1", math.nan))]
    best = max(rows, key=lambda row: (row["validation_top1"], -row["validation_loss"]), default=None)
    return None if best is None else int(best["epoch"])


def _is_locked(lock: Path) -> bool:
    """Return whether a training process holds the lock of a run."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):
        return True
