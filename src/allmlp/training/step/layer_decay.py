"""Layer-wise learning-rate decay from the classifier down to the patch projection, as in BEiT (arXiv 2106.08254)."""

import re
from collections.abc import Sequence

from allmlp.training.recipe.configs import TransferConfig

__all__ = ["learning_rate_scales"]


def learning_rate_scales(names: Sequence[str], transfer: TransferConfig, num_blocks: int) -> dict[str, float]:
    """Return the learning-rate multiplier of each parameter, by name; 0 if the parameter is not trained."""
    first_trained = 0 if transfer.trained_blocks is None else num_blocks + 1 - transfer.trained_blocks
    scales = {}
    for name in names:
        depth = _depth(name, num_blocks)
        is_trained = name.startswith("head.") if transfer.trained_blocks == 0 else depth >= first_trained
        scales[name] = transfer.layer_decay ** (num_blocks + 1 - depth) if is_trained else 0.0
    return scales


def _depth(name: str, num_blocks: int) -> int:
    """Return 0 for the patch projection, 1 for the first block, and num_blocks + 1 for the layers after the last block."""
    if name.startswith("patch_projection."):
        return 0
    block = re.match(r"blocks\.(\d+)\.", name)
    return num_blocks + 1 if block is None else int(block[1]) + 1
