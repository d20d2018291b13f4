"""The command of a study as others read it, without paths of this machine; options that were changed, or change nothing."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from allmlp.checkpoints import CATALOG, STARTER
from allmlp.data import DATASETS
from allmlp.errors import AllmlpError, ConfigError
from allmlp.studies.study import Study, StudyOptions

__all__ = ["changed_options", "check_steps", "command_of", "has_other_steps", "without_paths"]

_WORDS: Mapping[str, str] = {
    "data": "--data",
    "tasks": "--task",
    "checkpoint": "--from",
    "num_seeds": "--seeds",
    "num_steps": "--steps",
    "device": "--device",
}


def without_paths(options: StudyOptions, *, data_name: str | None = None) -> StudyOptions:
    """Return the options for the result, in which paths of this machine would mean nothing to others.

    `data_name` is the public data set that the photos of `StudyOptions.data` are, if they were recognised.
    """
    is_named = options.checkpoint in (None, STARTER, *CATALOG)
    return replace(
        options,
        checkpoint=options.checkpoint if is_named else "CHECKPOINT",
        data=None if options.data is None else data_name or _public_source(options.data),
        tasks=None if options.tasks is None else {name: _public_source(path) for name, path in options.tasks.items()},
    )


def command_of(study: Study, options: StudyOptions) -> str:
    """Return the command that repeats a study; `options` are those without paths."""
    chosen = {
        "--from": options.checkpoint,
        "--seeds": options.num_seeds,
        "--steps": options.num_steps,
        "--data": options.data,
    }
    words = [str(word) for item in chosen.items() if item[1] is not None for word in item]
    tasks = [f"--task {name}={source}" for name, source in (options.tasks or {}).items()]
    return " ".join(["allmlp study", study.name, *words, *tasks])


def changed_options(given: StudyOptions, stored: StudyOptions) -> list[str]:
    """Return the options that were given and differ from those with which a study began, as words of the command."""
    unset = StudyOptions()
    return [
        word
        for name, word in _WORDS.items()
        if getattr(given, name) != getattr(unset, name) and not _is_same(getattr(given, name), getattr(stored, name))
    ]


def _is_same(given: object, stored: object) -> bool:
    """Return whether an option is the stored one, in which paths are absolute, also those of photos that are gone."""
    if isinstance(given, Mapping) and isinstance(stored, Mapping):
        return given.keys() == stored.keys() and all(_is_same(given[name], stored[name]) for name in given)
    if isinstance(given, str) and isinstance(stored, str):
        return stored in (given, str(Path(given).absolute()))
    return given == stored


def check_steps(study: Study, options: StudyOptions) -> None:
    """Check that the number of steps, if one was given, can change an arm.

    Raises:
        ConfigError: the study has no steps.
        DataError: the tasks of the study cannot be found.
    """
    if options.num_steps is None:
        return
    own, fewest = (list(study.arms(replace(options, num_steps=number))) for number in (None, 1))
    if own and own == fewest:
        raise ConfigError(f"study {study.name} has no number of steps; omit --steps.")


def has_other_steps(study: Study, options: StudyOptions) -> bool:
    """Return whether the number of steps that was given differs from the study's own; True if its tasks are no longer here."""
    if options.num_steps is None:
        return False
    try:
        own = list(study.arms(replace(options, num_steps=None)))
    except AllmlpError:
        return True
    return not own or list(study.arms(options)) != own


def _public_source(source: str) -> str:
    """Return public data sets by name, separated by commas, without their folders, or "PHOTOS"."""
    names = [word.partition(":")[0] for word in source.split(",")]
    if all(name in DATASETS for name in names):
        return ",".join(names)
    return names[0] if ":" in source and names[0] in DATASETS else "PHOTOS"
