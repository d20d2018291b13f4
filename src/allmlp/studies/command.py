"""The command of a study as others read it, without paths of this machine."""

from dataclasses import replace

from allmlp.checkpoints import CATALOG, STARTER
from allmlp.data import DATASETS
from allmlp.studies.study import Study, StudyOptions

__all__ = ["command_of", "without_paths"]


def without_paths(options: StudyOptions) -> StudyOptions:
    """Return the options for the result, in which paths of this machine would mean nothing to others."""
    is_named = options.checkpoint in (None, STARTER, *CATALOG)
    return replace(
        options,
        checkpoint=options.checkpoint if is_named else "CHECKPOINT",
        data=None if options.data is None else _public_source(options.data),
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


def _public_source(source: str) -> str:
    return source if source in DATASETS else "PHOTOS"
