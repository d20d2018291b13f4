"""The checkpoint that a run is initialised from."""

from allmlp.checkpoints import Checkpoint, load_for_size
from allmlp.errors import ConfigError
from allmlp.io.display import Report
from allmlp.training.recipe.configs import TransferConfig

__all__ = ["load_initial_checkpoint"]


def load_initial_checkpoint(transfer: TransferConfig, *, report: Report) -> Checkpoint:
    """Read the checkpoint that a run is initialised from, at the image size that it trains at.

    Raises:
        CheckpointError: nothing usable there.
        ConfigError: an invalid image size, or more blocks to train than there are.
    """
    assert transfer.checkpoint is not None
    checkpoint = load_for_size(transfer.checkpoint, transfer.image_size, report=report)
    if transfer.trained_blocks is not None and transfer.trained_blocks > checkpoint.config.num_blocks:
        raise ConfigError(
            f"transfer.trained_blocks is {transfer.trained_blocks}, but {transfer.checkpoint} has "
            f"{checkpoint.config.num_blocks} blocks. Leave it out to train everything."
        )
    return checkpoint if transfer.image_size is None else checkpoint.at_resolution(transfer.image_size)
