"""The checkpoint that a run is initialised from."""

from allmlp.checkpoints import Checkpoint, load_for_size
from allmlp.errors import ConfigError
from allmlp.io.display import Report
from allmlp.training.recipe.configs import TransferConfig

__all__ = ["load_initial_checkpoint"]


def load_initial_checkpoint(transfer: TransferConfig, *, report: Report) -> Checkpoint:
    """Load the checkpoint that a run is initialised from, at the image size to train at.

    Raises:
        CheckpointError: the checkpoint is missing or unusable.
        ConfigError: the image size is invalid, or there are fewer blocks than are to be trained.
    """
    assert transfer.checkpoint is not None
    # Its threshold of "unknown" is none of the weights that are trained, which get their own at the end.
    checkpoint = load_for_size(transfer.checkpoint, transfer.image_size).replace(unknown=None)
    colours = {name: value for name in ("mean", "std") if (value := getattr(transfer, name)) is not None}
    if colours:
        checkpoint = checkpoint.with_preprocessing(colours)
    for remark in checkpoint.remarks:
        report(remark)
    if transfer.trained_blocks is not None and transfer.trained_blocks > checkpoint.config.num_blocks:
        raise ConfigError(
            f"transfer.trained_blocks is {transfer.trained_blocks}, but {transfer.checkpoint} has "
            f"{checkpoint.config.num_blocks} blocks. Omit it to train everything."
        )
    return checkpoint if transfer.image_size is None else checkpoint.at_resolution(transfer.image_size)
