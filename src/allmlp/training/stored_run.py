"""Existing runs: read from their folders and compared with what is requested now."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allmlp.checkpoints import load_checkpoint
from allmlp.data import ImageDataset, held_out_as, hold_out, open_dataset, read_skipped, skip_photos
from allmlp.errors import CheckpointError, ConfigError, DataError
from allmlp.io.display import escape, quote, shorten, summarise
from allmlp.io.path_problem import check_regular, path_problem
from allmlp.runs.layout import RunLayout, snapshot_step
from allmlp.runs.photo_digests import read_photo_digests
from allmlp.runs.saved_split import read_split
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.recipe.resolve import resolved_from_dict, resumed_recipe

__all__ = [
    "StoredRun",
    "check_matches_run",
    "check_same_photos",
    "damage_of",
    "photos_of_run",
    "stored_digests",
    "stored_run",
    "with_validation_of",
]

_MAX_SHOWN = 10
_ADVICE = " The run cannot be resumed without it."


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run as its folder describes it.

    Attributes:
        path: the run folder.
        recipe: as resolved when the run started.
        data: the source of its photos at that time.
        options: the other arguments of `open_dataset` at that time.
        is_finished: whether nothing is left to do.
        num_threads: that torch computed with on the CPU when the run started; None if unknown.
        is_diverged: whether a loss that is not finite ended it, and it has not finished since.
    """

    path: Path
    recipe: ResolvedRecipe
    data: str
    options: Mapping[str, Any]
    is_finished: bool
    is_diverged: bool
    num_threads: int | None


def stored_run(path: Path) -> StoredRun | None:
    """Return the run in a folder; None if it holds no run.

    Raises:
        ConfigError: the folder or a file of the run cannot be read.
    """
    if problem := path_problem(path):
        raise ConfigError(f"{shorten(escape(path), 200)}: this run folder cannot be read ({problem}).")
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
        path=path,
        recipe=recipe,
        data=data,
        options=options,
        is_finished=is_finished,
        is_diverged=is_diverged,
        num_threads=_num_threads(layout.environment),
    )


def _is_option(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, dict) and all(isinstance(folder, str) for folder in value.values())
    )


def photos_of_run(run: StoredRun) -> ImageDataset:
    """Open the photos of a run as it read them: its validation split, and without those that it left out.

    Raises:
        DataError: the photos cannot be opened, or are not those of the run.
        CheckpointError, ConfigError: a file of the run cannot be read.
    """
    dataset = open_dataset(run.data, **run.options)
    if run.recipe.data.bad_photos == "skip":
        dataset = skip_photos(dataset, read_skipped(RunLayout(run.path).skipped))
    dataset = with_validation_of(run, dataset)
    check_same_photos(dataset, run)
    return dataset


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
        problems.append(
            f"classes: now {summarise(dataset.class_names)}; not those of {RunLayout(run.path).class_names.name}"
        )
    if problems:
        raise DataError(
            f"{run.path}: a run must be resumed with the photos it was started with. {escape(dataset.source)} differs:\n  "
            + "\n  ".join(problems)
        )


def stored_digests(dataset: ImageDataset, run: StoredRun) -> dict[str, list[str]] | None:
    """Return the SHA-256 of each photo as the run read it, by split in the order of `dataset`; None if the run has none.

    Raises:
        ConfigError: the run's photos.csv cannot be read, or lacks photos.
    """
    stored = read_photo_digests(RunLayout(run.path).photos)
    if stored is None:
        return None
    try:
        return {
            name: [stored[name][sample_id] for sample_id in split.sample_ids] for name, split in dataset.splits.items()
        }
    except KeyError as error:
        raise ConfigError(
            f"{RunLayout(run.path).photos}: incomplete ({quote(error.args[0])} is missing). Restore it, or delete it to go on "
            "without knowing whether photos have changed."
        ) from error


def check_matches_run(run: StoredRun, recipe: Recipe, dataset: ImageDataset | None) -> None:
    """Check that a run which has ended is the one requested; `dataset` is None if no photos were named.

    Raises:
        ConfigError, DataError: as `resumed_recipe` and `check_same_photos`.
    """
    resumed_recipe(recipe, run.recipe, where=run.path)
    if dataset is not None:
        check_same_photos(with_validation_of(run, dataset), run)


def with_validation_of(run: StoredRun, dataset: ImageDataset) -> ImageDataset:
    """Return `dataset` with the validation split of a run: its own, or the photos that the run held out, if any.

    If its photos are not the run's, others are held out, and `check_same_photos` reports the difference.

    Raises:
        DataError: no photos can be held out.
        CheckpointError: the run's split cannot be read.
    """
    if run.recipe.data.folds:
        return dataset
    divided = held_out_as(dataset, read_split(RunLayout(run.path).split))
    return divided or hold_out(dataset, fraction=run.recipe.data.holdout, seed=run.recipe.seed)


def damage_of(run: StoredRun) -> str:
    """Return what is wrong with the results of a finished run; "" if nothing is.

    Raises:
        CheckpointError: there is no snapshot either, from which the end of the run can be repeated.
    """
    layout = RunLayout(run.path)
    try:
        if not isinstance(_read(layout.metrics, advice="").get("evaluations"), dict):
            raise ConfigError(f"{layout.metrics}: the scores are missing.")
        load_checkpoint(layout.checkpoint("best"))
        if layout.checkpoint("last").exists():
            load_checkpoint(layout.checkpoint("last"))
    except (ConfigError, CheckpointError) as error:
        damage = str(error)
    else:
        return ""
    if not (layout.resume.is_dir() and any(snapshot_step(path.name) is not None for path in layout.resume.iterdir())):
        raise CheckpointError(f"{damage} The run has no snapshot from which it can be written again; restore the file.")
    return damage


def _num_threads(environment: Path) -> int | None:
    """Return the number of threads in a run's environment.json; None without it, as in runs of older versions."""
    try:
        check_regular(environment)
        threads = json.loads(environment.read_text(encoding="utf-8"))["threads"]
        return int(threads) if 1 <= int(threads) <= 1024 else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _read_text(path: Path, advice: str = _ADVICE) -> str:
    try:
        check_regular(path)
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).{advice}") from error


def _read(path: Path, advice: str = _ADVICE) -> dict[str, Any]:
    try:
        values = json.loads(_read_text(path, advice))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}).{advice}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a JSON object.{advice}")
    return values
