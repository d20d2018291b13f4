"""Existing runs: read from their folders and compared with what is requested now."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allmlp.data import ImageDataset, hold_out
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape
from allmlp.runs.layout import RunLayout
from allmlp.runs.saved_split import read_split
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.recipe.resolve import resolved_from_dict, resumed_recipe

__all__ = ["StoredRun", "check_matches_run", "check_same_photos", "stored_run"]

_MAX_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run as its folder describes it.

    Attributes:
        path: the run folder.
        recipe: as resolved when the run started.
        data: the source of its photos at that time.
        options: the other arguments of `open_dataset` at that time.
        is_finished: whether nothing is left to do.
        is_diverged: whether a loss that is not finite ended it, and it has not finished since.
    """

    path: Path
    recipe: ResolvedRecipe
    data: str
    options: Mapping[str, Any]
    is_finished: bool
    is_diverged: bool


def stored_run(path: Path) -> StoredRun | None:
    """Return the run in a folder; None if it holds no run.

    Raises:
        ConfigError: a file of the run cannot be read.
    """
    layout = RunLayout(path)
    if not layout.recipe.exists():
        return None
    recipe = resolved_from_dict(_read(layout.recipe), where=str(layout.recipe))
    options = _read(layout.data)
    data = options.pop("source", None)
    if not isinstance(data, str):
        raise ConfigError(f"{layout.data}: the source of the photos is missing; expected {{'source': PATH}}.")
    is_finished = layout.metrics.exists()
    is_diverged = not is_finished and layout.divergence.exists()
    if not options.keys() <= {"classes_from", "split_folders"} or not all(map(_is_option, options.values())):
        raise ConfigError(f"{layout.data}: expected {{'source': PATH}}, with classes_from or split_folders at most.")
    return StoredRun(
        path=path, recipe=recipe, data=data, options=options, is_finished=is_finished, is_diverged=is_diverged
    )


def _is_option(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, dict) and all(isinstance(folder, str) for folder in value.values())
    )


def check_same_photos(dataset: ImageDataset, run: StoredRun) -> None:
    """Check that photos, splits and classes are those of the run.

    Raises:
        DataError: photos were added, removed or moved to another split, or the classes differ.
        CheckpointError: the run's split cannot be read.
        ConfigError: the run's class names cannot be read.
    """
    stored = read_split(RunLayout(run.path).split)
    problems = []
    for name in sorted({*stored, *dataset.splits}):
        before = set(stored.get(name, ()))
        now = set(dataset.splits[name].sample_ids) if name in dataset.splits else set()
        for change, photos in (("missing", before - now), ("new", now - before)):
            if photos:
                shown = ", ".join(map(escape, sorted(photos)[:_MAX_SHOWN]))
                more = ", ..." if len(photos) > _MAX_SHOWN else ""
                problems.append(f"{name}: {len(photos):,} {change}: {shown}{more}")
    if not problems and _read_text(RunLayout(run.path).class_names) != "".join(
        f"{name}\n" for name in dataset.class_names
    ):
        problems.append(f"classes: now {', '.join(map(escape, dataset.class_names[:_MAX_SHOWN]))}")
    if problems:
        raise DataError(
            f"{run.path}: a run must be resumed with the photos it was started with. {escape(dataset.source)} differs:\n  "
            + "\n  ".join(problems)
        )


def check_matches_run(run: StoredRun, recipe: Recipe, dataset: ImageDataset | None) -> None:
    """Check that a run which has ended is the one requested; `dataset` is None if no photos were named.

    Raises:
        ConfigError, DataError: as `resumed_recipe` and `check_same_photos`.
    """
    resumed_recipe(recipe, run.recipe, where=run.path)
    if dataset is not None:
        check_same_photos(hold_out(dataset, fraction=run.recipe.data.holdout, seed=run.recipe.seed), run)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error}). The run cannot be resumed without it.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). The run cannot be resumed without it.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a JSON object. The run cannot be resumed without it.")
    return values
