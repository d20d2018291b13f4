"""A run that is there already: what it is, and whether what was asked for is the same."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from allmlp.config import from_dict, to_dict
from allmlp.data import ImageDataset, hold_out
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape
from allmlp.model import MixerConfig
from allmlp.runs.layout import RunLayout
from allmlp.training.recipe.initial_checkpoint import is_same_source
from allmlp.training.recipe.recipe import Recipe

__all__ = ["StoredRun", "check_ended", "check_same_photos", "recipe_to_continue", "stored_run"]

_MAX_SHOWN = 10
_FREE = ("data.storage", "data.num_workers", "saving.", "on_nonfinite", "sharded")


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """What a run folder says of its run.

    Attributes:
        path: the folder.
        recipe: as resolved when it began.
        data: where its photos were then.
        is_finished: whether nothing is left to do.
        is_diverged: whether it was ended by a loss that is not finite, and has not ended otherwise since.
    """

    path: Path
    recipe: Recipe
    data: str
    is_finished: bool
    is_diverged: bool


def stored_run(path: Path) -> StoredRun | None:
    """Return the run that was begun in a folder, None when there is none.

    Raises:
        ConfigError: its files cannot be read.
    """
    layout = RunLayout(path)
    if not layout.recipe.exists():
        return None
    recipe = from_dict(Recipe, _read(layout.recipe), where=str(layout.recipe))
    data = _read(layout.data).get("source")
    if not isinstance(data, str):
        raise ConfigError(f"{layout.data}: it does not say where the photos are ({{'source': PATH}}).")
    is_finished = layout.metrics.exists()
    is_diverged = not is_finished and layout.divergence.exists()
    return StoredRun(path=path, recipe=recipe, data=data, is_finished=is_finished, is_diverged=is_diverged)


def recipe_to_continue(given: Recipe, run: StoredRun) -> Recipe:
    """Return the run's recipe, after comparing it with the one that was given.

    What is filled in when a run begins may be left open: classes, precision, epochs. What changes no result may differ, and
    is taken from `given`: how photos are read, when is saved, what a step that is not finite does, and who keeps the weights.

    Raises:
        ConfigError: every setting that differs, with both values.
    """
    stored = to_dict(run.recipe)
    given = _begun_alike(given, run.recipe)
    differences = [
        f"{key}: the run has {json.dumps(ours)}, now {json.dumps(theirs)}"
        for key, ours, theirs in _differences(stored, to_dict(given), "")
        if not key.startswith(_FREE) and not _is_filled_in(key, ours, theirs, given)
    ]
    if differences:
        raise ConfigError(
            f"{run.path}: a run is continued as it began. These settings differ:\n  "
            + "\n  ".join(differences)
            + "\nLeave them out to continue, or begin a new run with --out."
        )
    data = replace(run.recipe.data, storage=given.data.storage, num_workers=given.data.num_workers)
    return replace(run.recipe, data=data, saving=given.saving, on_nonfinite=given.on_nonfinite, sharded=given.sharded)


def _begun_alike(given: Recipe, stored: Recipe) -> Recipe:
    """Return `given` with what the checkpoint decides that it begins with, where it is the run's; it may be gone since."""
    source = stored.transfer.checkpoint
    if source is None or not is_same_source(given.transfer.checkpoint, source):
        return given
    ours = stored.model
    model = replace(ours, dropout=given.model.dropout, stochastic_depth=given.model.stochastic_depth)
    interpolation = given.data.interpolation or stored.data.interpolation
    data = replace(given.data, mean=stored.data.mean, std=stored.data.std, interpolation=interpolation)
    return replace(given, model=model, data=data, transfer=replace(given.transfer, checkpoint=source))


def check_same_photos(dataset: ImageDataset, run: StoredRun) -> None:
    """Compare photos and their division with the run's.

    Raises:
        DataError: photos that were added, have gone, or belong to another split; or other classes.
    """
    stored = _read(RunLayout(run.path).split)
    problems = []
    for name in sorted({*stored, *dataset.splits}):
        before = set(stored.get(name, ()))
        now = set(dataset.splits[name].sample_ids) if name in dataset.splits else set()
        for what, photos in (("gone", before - now), ("new", now - before)):
            if photos:
                shown = ", ".join(map(escape, sorted(photos)[:_MAX_SHOWN]))
                problems.append(f"{name}: {len(photos):,} {what}: {shown}{', ...' if len(photos) > _MAX_SHOWN else ''}")
    names = RunLayout(run.path).class_names.read_text(encoding="utf-8", errors="surrogateescape")
    if not problems and names != "".join(f"{name}\n" for name in dataset.class_names):
        problems.append(f"classes: now {', '.join(map(escape, dataset.class_names[:_MAX_SHOWN]))}")
    if problems:
        raise DataError(
            f"{run.path}: a run is continued with the photos that it began with. {escape(dataset.source)} differs:\n  "
            + "\n  ".join(problems)
        )


def check_ended(run: StoredRun, recipe: Recipe, dataset: ImageDataset | None) -> None:
    """Check that a run which needs no training any more is what was asked for; None are photos that were not named.

    Raises:
        ConfigError, DataError: as `recipe_to_continue` and `check_same_photos`.
    """
    recipe_to_continue(recipe, run)
    if dataset is not None:
        check_same_photos(hold_out(dataset, fraction=run.recipe.data.holdout, seed=run.recipe.seed), run)


def _is_filled_in(key: str, stored: Any, given: Any, recipe: Recipe) -> bool:
    if key == "model.num_classes":
        return bool(given == MixerConfig.num_classes)
    if key == "precision":
        return bool(given == "auto")
    if key == "num_epochs" and recipe.num_steps is not None:
        return bool(given == 0)
    return key == "num_epochs" and recipe.max_minutes is not None and bool(given > stored)


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for name in ours:
        if isinstance(ours[name], dict):
            yield from _differences(ours[name], theirs[name], f"{prefix}{name}.")
        elif ours[name] != theirs[name]:
            yield f"{prefix}{name}", ours[name], theirs[name]


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). The run cannot be continued without it.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected an object. The run cannot be continued without it.")
    return values
