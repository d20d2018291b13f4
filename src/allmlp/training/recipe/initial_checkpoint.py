"""Beginning with a trained Mixer: which one, what of it learns, and how fast."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from allmlp.checkpoints import STARTER, Checkpoint, load_for_size
from allmlp.config import override
from allmlp.errors import ConfigError
from allmlp.training.recipe.recipe import Recipe, TransferConfig

__all__ = [
    "is_same_source",
    "learning_rate_scales",
    "load_initial_checkpoint",
    "resolved_with_checkpoint",
    "with_checkpoint",
    "with_settings",
]

# What a checkpoint decides of a recipe, beside the model; and what of the model it does not.
_DECIDED = ("data.mean", "data.std")
_FREE = ("model.dropout", "model.stochastic_depth", "model.num_classes")  # the last is compared with the photos


def load_initial_checkpoint(transfer: TransferConfig, *, say: Callable[[str], None]) -> Checkpoint:
    """Read the checkpoint that a run begins with, at the size that it trains at; `say` takes lines for people.

    Raises:
        CheckpointError: nothing usable there.
        ConfigError: an image size or a number of blocks that cannot be.
    """
    assert transfer.checkpoint is not None
    checkpoint = load_for_size(transfer.checkpoint, transfer.image_size, report=say)
    if transfer.trained_blocks is not None and transfer.trained_blocks > checkpoint.config.num_blocks:
        raise ConfigError(
            f"transfer.trained_blocks is {transfer.trained_blocks}, but {transfer.checkpoint} has "
            f"{checkpoint.config.num_blocks} blocks. Leave it out to train everything."
        )
    return checkpoint if transfer.image_size is None else checkpoint.at_resolution(transfer.image_size)


def with_checkpoint(recipe: Recipe, checkpoint: Checkpoint) -> Recipe:
    """Return a recipe with the Mixer and the pre-processing of the checkpoint that it begins with."""
    source = recipe.transfer.checkpoint
    assert source is not None
    if source != STARTER and Path(source).exists():
        source = str(Path(source).absolute())  # the run may go on from another folder
    model = dataclasses.replace(
        checkpoint.config,
        num_classes=recipe.model.num_classes,
        dropout=recipe.model.dropout,
        stochastic_depth=recipe.model.stochastic_depth,
    )
    used = checkpoint.preprocessing
    interpolation = recipe.data.interpolation or used.interpolation
    data = dataclasses.replace(recipe.data, mean=used.mean, std=used.std, interpolation=interpolation)
    return dataclasses.replace(
        recipe, model=model, data=data, transfer=dataclasses.replace(recipe.transfer, checkpoint=source)
    )


def with_settings(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Return a recipe with assignments such as "transfer.trained_blocks=2" applied; see `config.override`.

    Raises:
        ConfigError: as `override`; or settings without effect: all that the checkpoint decides that training begins with, or a
            decay over layers that do not learn.
    """
    changed = override(recipe, assignments)
    if changed.transfer.checkpoint is None:
        return changed
    keys = dict.fromkeys(assignment.partition("=")[0].strip() for assignment in assignments)
    without_effect = [key for key in keys if key in _DECIDED or (key.startswith("model.") and key not in _FREE)]
    if without_effect:
        raise ConfigError(
            f"--set {', '.join(without_effect)}: training begins with a checkpoint ({changed.transfer.checkpoint}), which "
            "decides that. Leave it out, or begin with random weights (allmlp train, by another recipe). Another image size is "
            "set by --image-size or transfer.image_size."
        )
    if changed.transfer.trained_blocks == 0 and "transfer.layer_decay" in keys:
        raise ConfigError(
            "--set transfer.layer_decay: the classifier alone is trained (transfer.trained_blocks is 0), all at one rate. "
            "Leave it out, or train some blocks."
        )
    return changed


def resolved_with_checkpoint(recipe: Recipe, *, say: Callable[[str], None]) -> Recipe:
    """Return a recipe as a run would begin with it: with the Mixer and the pre-processing of its checkpoint, where it has one.

    `say` takes lines for people.

    Raises:
        CheckpointError, ConfigError: as `load_initial_checkpoint`.
    """
    if recipe.transfer.checkpoint is None:
        return recipe
    return with_checkpoint(recipe, load_initial_checkpoint(recipe.transfer, say=say))


def is_same_source(given: str | None, stored: str | None) -> bool:
    """Whether a checkpoint that was named is the one that a run has begun with."""
    return given == stored or (given not in (None, STARTER) and str(Path(given).absolute()) == stored)


def learning_rate_scales(names: Sequence[str], transfer: TransferConfig, num_blocks: int) -> dict[str, float]:
    """Return what the learning rate of each parameter is multiplied by; 0 for those that are not trained."""
    first_trained = 0 if transfer.trained_blocks is None else num_blocks + 1 - transfer.trained_blocks
    scales = {}
    for name in names:
        depth = _depth(name, num_blocks)
        is_trained = name.startswith("head.") if transfer.trained_blocks == 0 else depth >= first_trained
        scales[name] = transfer.layer_decay ** (num_blocks + 1 - depth) if is_trained else 0.0
    return scales


def _depth(name: str, num_blocks: int) -> int:
    """Return 0 for the patch projection, 1 for the first block, and num_blocks + 1 for what follows the last."""
    if name.startswith("patch_projection."):
        return 0
    block = re.match(r"blocks\.(\d+)\.", name)
    return num_blocks + 1 if block is None else int(block[1]) + 1
