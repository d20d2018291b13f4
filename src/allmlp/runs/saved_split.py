"""Reading the split of each photo from a run folder."""

import json
from collections.abc import Mapping
from pathlib import Path

from allmlp.errors import CheckpointError
from allmlp.runs.layout import RunLayout

__all__ = ["saved_split"]


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
    if run is None:
        return {}
    try:
        saved = json.loads(run.split.read_text(encoding="utf-8"))
        return {str(name): [str(sample_id) for sample_id in sample_ids] for name, sample_ids in saved.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{run.split}: cannot be read as the split of a run ({error}). Restore it or delete it."
        ) from error
