"""A run that exists: what its folder holds, and a comparison with what is asked for now."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allmlp.data import ImageDataset, hold_out
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape
from allmlp.runs.layout import RunLayout
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.recipe.resolve import continued, resolved_from_dict

__all__ = ["StoredRun", "check_ended", "check_same_photos", "stored_run"]

_MAX_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """The facts of a run, read from its folder.

    Attributes:
        path: the folder.
        recipe: the run's, resolved when it started.
        data: where its photos were then.
        is_finished: whether nothing is left to do.
        is_diverged: whether it was ended by a loss that is not finite, and has not ended otherwise since.
    """

    path: Path
    recipe: ResolvedRecipe
    data: str
    is_finished: bool
    is_diverged: bool


def stored_run(path: Path) -> StoredRun | None:
    """Return the run in a folder; None when there is none.

    Raises:
        ConfigError: its files cannot be read.
    """
    layout = RunLayout(path)
    if not layout.recipe.exists():
        return None
    recipe = resolved_from_dict(_read(layout.recipe), where=str(layout.recipe))
    data = _read(layout.data).get("source")
    if not isinstance(data, str):
        raise ConfigError(f"{layout.data}: it does not say where the photos are ({{'source': PATH}}).")
    is_finished = layout.metrics.exists()
    is_diverged = not is_finished and layout.divergence.exists()
    return StoredRun(path=path, recipe=recipe, data=data, is_finished=is_finished, is_diverged=is_diverged)


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
            f"{run.path}: a run is continued with the photos that it was started with. {escape(dataset.source)} differs:\n  "
            + "\n  ".join(problems)
        )


def check_ended(run: StoredRun, recipe: Recipe, dataset: ImageDataset | None) -> None:
    """Check that a run which needs no training any more is what was asked for; None are photos that were not named.

    Raises:
        ConfigError, DataError: as `continued` and `check_same_photos`.
    """
    continued(recipe, run.recipe, where=run.path)
    if dataset is not None:
        check_same_photos(hold_out(dataset, fraction=run.recipe.data.holdout, seed=run.recipe.seed), run)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). The run cannot be continued without it.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected an object. The run cannot be continued without it.")
    return values
