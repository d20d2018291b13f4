"""The command of a study as others read it, without paths of this machine."""

from dataclasses import replace

from allmlp.checkpoints import CATALOG, STARTER
from allmlp.data import DATASETS
from allmlp.studies.study import Study, StudyOptions

__all__ = ["command_of", "without_paths"]


def without_paths(options: StudyOptions) -> StudyOptions:
    """Return the options for the result, in which paths of this machine would mean nothing to others."""
    is_named = options.checkpoint in (None, STARTER, *CATALOG)
    is_public = options.data is None or options.data in DATASETS
    return replace(
        options,
        checkpoint=options.checkpoint if is_named else "CHECKPOINT",
        data=options.data if is_public else "PHOTOS",
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
    return " ".join(["allmlp study", study.name, *words])
