"""Reading the split of each photo from a run folder."""

import json
from collections.abc import Mapping
from pathlib import Path

from allmlp.errors import CheckpointError
from allmlp.io.path_problem import check_regular
from allmlp.runs.layout import RunLayout

__all__ = ["read_split", "saved_split"]


def saved_split(checkpoint: Path) -> Mapping[str, list[str]]:
    """Return the sample IDs by split that the run of a checkpoint saved; empty if the checkpoint is not in a run folder.

    `checkpoint` may be RUN, RUN/checkpoints, RUN/checkpoints/best or a file in it; for a path that does not exist the
    result is empty.

    Raises:
        CheckpointError: the saved split is unreadable.
    """
    if not checkpoint.exists():
        return {}
    # Without a recipe next to it, split.json may be another tool's.
    runs = (run for run in RunLayout.around(checkpoint) if run.recipe.is_file() and run.split.is_file())
    run = next(runs, None)
    return {} if run is None else read_split(run.split)


def read_split(path: Path) -> dict[str, list[str]]:
    """Return the sample IDs by split in a run's split.json.

    Raises:
        CheckpointError: the file is unreadable, or not lists of sample IDs by split.
    """
    try:
        check_regular(path)
        saved = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(saved, dict) or not all(map(_is_list_of_texts, saved.values())):
            raise ValueError("expected lists of sample IDs by split")
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as the split of a run ({error}). Restore it.") from error
    return saved


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
