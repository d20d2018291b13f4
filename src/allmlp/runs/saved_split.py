"""The division of photos into splits that a run keeps in its folder."""

import json
from collections.abc import Mapping
from pathlib import Path

from allmlp.errors import CheckpointError
from allmlp.runs.layout import RunLayout

__all__ = ["saved_split"]


def saved_split(checkpoint: Path) -> Mapping[str, list[str]]:
    """Return sample IDs by split as the run of a checkpoint kept them; nothing when there is no run folder around it.

    `checkpoint` may be RUN, RUN/checkpoints, RUN/checkpoints/best or a file in it; a path that does not exist has no run.

    Raises:
        CheckpointError: the split cannot be read.
    """
    if not checkpoint.exists():
        return {}
    # A run also has a recipe: another tool's split.json is not ours.
    runs = (run for run in RunLayout.around(checkpoint) if run.recipe.is_file() and run.split.is_file())
    run = next(runs, None)
    if run is None:
        return {}
    try:
        saved = json.loads(run.split.read_text(encoding="utf-8"))
        return {str(name): [str(sample_id) for sample_id in sample_ids] for name, sample_ids in saved.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{run.split}: cannot be read as a run's split ({error}). Restore it, or delete it."
        ) from error
