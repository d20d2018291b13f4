"""The run folder: what a run leaves, so that everything about it can be looked up later."""

import csv
import io
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allmlp.config import to_dict
from allmlp.data import ImageDataset
from allmlp.errors import ConfigError
from allmlp.evaluation import Metrics
from allmlp.files import write_json, write_text
from allmlp.training.recipe import Recipe

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


def refuse_used_folder(path: Path) -> None:
    """Check that a new run may be written to `path`.

    Raises:
        ConfigError: it is a file, it holds something, or it cannot be created.
    """
    if path.is_dir() and any(path.iterdir()):
        what = "holds another run" if (path / "recipe.json").exists() else "is not empty"
        raise ConfigError(f"{path}: {what}; nothing is ever overwritten. Choose another folder with --out.")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: this is a file; a run needs a folder. Choose another name with --out.")
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"{path}: {existing} is not writable. Choose another folder with --out.")


class RunDirectory:
    """Writes the files of one run; each is whole at any time."""

    def __init__(self, path: Path) -> None:
        refuse_used_folder(path)
        self.path = path
        self.results: list[dict[str, float]] = []
        self._log: list[str] = []

    def describe(self, recipe: Recipe, dataset: ImageDataset, environment: Mapping[str, str]) -> None:
        """Write what the run is, before it begins."""
        write_json(self.path / "recipe.json", to_dict(recipe))
        write_json(self.path / "environment.json", dict(environment))
        write_text(self.path / "class_names.txt", "".join(f"{name}\n" for name in dataset.class_names))
        splits = {name: list(split.identities) for name, split in dataset.splits.items()}
        write_json(self.path / "split.json", splits)

    def add_result(self, row: Mapping[str, float]) -> None:
        """Append a line to results.csv."""
        self.results.append({name: row[name] for name in RESULT_COLUMNS})
        text = io.StringIO()
        writer = csv.DictWriter(text, RESULT_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _rounded(value) for name, value in row.items()} for row in self.results)
        write_text(self.path / "results.csv", text.getvalue())

    def log(self, line: str) -> None:
        """Append a line to log.txt."""
        self._log.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z {line}\n")
        write_text(self.path / "log.txt", "".join(self._log))

    def write_metrics(self, evaluations: Mapping[str, Metrics], *, facts: Mapping[str, Any]) -> None:
        """Write metrics.json: the run's figures and every evaluation of its best checkpoint."""
        write_json(
            self.path / "metrics.json",
            {**facts, "evaluations": {name: metrics.to_dict() for name, metrics in evaluations.items()}},
        )


def _rounded(value: float) -> float | str:
    if value != value:  # not measured in this epoch
        return ""
    return value if isinstance(value, int) else float(f"{value:.6g}")
