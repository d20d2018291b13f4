"""Occlusion: by how much the logits of a photo fall if a tile of it is replaced by the mean colour."""

import itertools

import numpy as np
from numpy.typing import NDArray

from allmlp.explanations.contributions import ContributionModel

__all__ = ["occlude"]

_MAX_TILES = 64
_BATCH_SIZE = 16


def occlude(
    model: ContributionModel, image: NDArray[np.float32], logits: NDArray[np.float32], *, max_tiles: int = _MAX_TILES
) -> NDArray[np.float32]:
    """Return what each logit loses, (rows, columns, K) float32, if a tile of `image` (3, H, W) is replaced by zeros.

    Zeros are the mean colour after pre-processing. A tile is one patch, or a square of them so that there are at most
    `max_tiles`; then all patches of a tile have its value. `logits` (K,) are those of the whole image.
    """
    (rows, columns), P = model.description.config.grid, model.description.config.patch_size
    side = tile_side(rows, columns, max_tiles)
    corners = list(itertools.product(range(0, rows, side), range(0, columns, side)))
    losses = np.empty((rows, columns, len(logits)), np.float32)
    for start in range(0, len(corners), _BATCH_SIZE):
        batch = corners[start : start + _BATCH_SIZE]
        images = np.repeat(image[None], len(batch), axis=0)
        for covered, (row, column) in zip(images, batch, strict=True):
            covered[:, row * P : (row + side) * P, column * P : (column + side) * P] = 0
        for (row, column), found in zip(batch, model.compute(images).logits, strict=True):
            losses[row : row + side, column : column + side] = logits - found
    return losses


def tile_side(rows: int, columns: int, max_tiles: int = _MAX_TILES) -> int:
    """Return the side of a tile in patches: the smallest with which at most `max_tiles` cover the grid."""
    return next(side for side in itertools.count(1) if -(-rows // side) * -(-columns // side) <= max_tiles)
