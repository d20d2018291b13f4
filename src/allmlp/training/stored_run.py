"""A run that is there already: what it is, and whether what was asked for is the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allmlp.checkpoints import STARTER
from allmlp.data import ImageDataset, escape, hold_out
from allmlp.errors import CheckpointError, ConfigError, DataError
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.recipe.resolve import continued, resolved_from_dict

__all__ = ["StoredRun", "check_ended", "check_same_photos", "saved_split", "stored_run"]

_MAX_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """What a run folder says of its run.

    Attributes:
        path: the folder.
        recipe: the run's, resolved when it began.
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
    """Return the run that was begun in a folder, None when there is none.

    Raises:
        ConfigError: its files cannot be read.
    """
    if not (path / "recipe.json").exists():
        return None
    recipe = resolved_from_dict(_read(path / "recipe.json"), where=str(path / "recipe.json"))
    data = _read(path / "data.json").get("source")
    if not isinstance(data, str):
        raise ConfigError(f"{path / 'data.json'}: it does not say where the photos are ({{'source': PATH}}).")
    is_finished = (path / "metrics.json").exists()
    is_diverged = not is_finished and (path / "diverged.json").exists()
    return StoredRun(path=path, recipe=recipe, data=data, is_finished=is_finished, is_diverged=is_diverged)


def check_same_photos(dataset: ImageDataset, run: StoredRun) -> None:
    """Compare photos and their division with the run's.

    Raises:
        DataError: photos that were added, have gone, or belong to another split; or other classes.
    """
    stored = _read(run.path / "split.json")
    problems = []
    for name in sorted({*stored, *dataset.splits}):
        before = set(stored.get(name, ()))
        now = set(dataset.splits[name].sample_ids) if name in dataset.splits else set()
        for what, photos in (("gone", before - now), ("new", now - before)):
            if photos:
                shown = ", ".join(map(escape, sorted(photos)[:_MAX_SHOWN]))
                problems.append(f"{name}: {len(photos):,} {what}: {shown}{', ...' if len(photos) > _MAX_SHOWN else ''}")
    names = (run.path / "class_names.txt").read_text(encoding="utf-8", errors="surrogateescape")
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
        ConfigError, DataError: as `continued` and `check_same_photos`.
    """
    continued(recipe, run.recipe, where=run.path)
    if dataset is not None:
        check_same_photos(hold_out(dataset, fraction=run.recipe.data.holdout, seed=run.recipe.seed), run)


def saved_split(source: str) -> Mapping[str, list[str]]:
    """Return sample IDs by split as the run kept them; nothing when the checkpoint is not in a run folder.

    Raises:
        CheckpointError: it cannot be read.
    """
    checkpoint = Path(source)
    if source == STARTER or not checkpoint.exists():  # or a name of `allmlp models`, a repository on the hub
        return {}
    folder = (checkpoint if checkpoint.is_dir() else checkpoint.parent).absolute()
    # RUN, RUN/checkpoints or RUN/checkpoints/best. A run also has a recipe: another tool's split.json is not ours.
    places = (folder, *(place.parent for place in (folder, folder.parent) if place.name == "checkpoints"))
    paths = (place / "split.json" for place in places if (place / "recipe.json").is_file())
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return {}
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): [str(sample_id) for sample_id in sample_ids] for name, sample_ids in saved.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a run's split ({error}). Restore it, or delete it."
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). The run cannot be continued without it.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected an object. The run cannot be continued without it.")
    return values
