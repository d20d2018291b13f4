"""The initial weights of a run that was killed before its first snapshot."""

from collections.abc import Sequence
from pathlib import Path

from allmlp.checkpoints import Checkpoint
from allmlp.errors import CheckpointError
from allmlp.io.display import Report
from allmlp.training.recipe.initial_checkpoint import load_initial_checkpoint
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.recipe.resolve import with_checkpoint

__all__ = ["reload_initial_checkpoint"]


def reload_initial_checkpoint(
    recipe: ResolvedRecipe, class_names: Sequence[str], *, run: Path, report: Report
) -> Checkpoint:
    """Return what a run that has no snapshot yet is initialised from, with a classifier for its classes.

    Raises:
        CheckpointError: it cannot be loaded, or is another Mixer than when the run was started.
    """
    checkpoint = load_initial_checkpoint(recipe.transfer, report=report)
    checkpoint = checkpoint.with_new_head(class_names, bias=recipe.head_bias)
    if with_checkpoint(recipe, checkpoint).model != recipe.model:
        raise CheckpointError(
            f"{recipe.transfer.checkpoint}: not the Mixer that {run} was started with. Start a new run with --out."
        )
    return checkpoint
