"""Tiles: weights as small pictures of pixels, each on its own scale."""

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

__all__ = ["colour_bar", "filter_tiles", "unit_tiles"]

_SIDE = 48  # pixels of the longer side, about; cells are enlarged by a whole number
_MAX_SIDE = 128  # larger tiles are reduced
_FRAME = (196, 201, 209)  # one pixel around each tile, so that white cells at its edge are seen
_COLOURS = colormaps["RdBu_r"]  # blue, white, red: told apart by people with any kind of colour vision


def unit_tiles(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw pictures (n, rows, columns) as tiles (n, height, width, 3): red is positive, blue negative, white 0."""
    return _enlarged(_coloured(_scaled(pictures)))


def filter_tiles(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw filters (n, 3, P, P) as tiles (n, height, width, 3) in their own colours: grey is 0."""
    values = np.moveaxis(_scaled(pictures), 1, 3)  # (n, P, P, 3)
    return _enlarged(np.rint(127.5 * (1 + values)).astype(np.uint8))


def colour_bar(width: int, height: int) -> NDArray[np.uint8]:
    """Return the colours (height, width, 3) of `unit_tiles` from the most negative weight to the most positive."""
    return _coloured(np.linspace(-1, 1, width)[None]).repeat(height, axis=0)


def _scaled(pictures: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return pictures divided by the largest absolute weight of each; zeros stay zeros."""
    values = pictures.astype(np.float64)
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
    np.divide(values, largest, out=values, where=largest > 0)
    return values


def _coloured(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(_COLOURS((1 + values) / 2, bytes=True)[..., :3], np.uint8)


def _enlarged(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = tiles.shape[1:3]
    longer = max(height, width)
    if longer <= _MAX_SIDE:
        factor = max(1, round(_SIDE / longer))
        return _framed(tiles.repeat(factor, axis=1).repeat(factor, axis=2))
    size = (max(1, width * _MAX_SIDE // longer), max(1, height * _MAX_SIDE // longer))
    reduced = np.empty((len(tiles), size[1], size[0], 3), np.uint8)
    for number, tile in enumerate(tiles):
        reduced[number] = np.asarray(Image.fromarray(tile).resize(size, Image.Resampling.BOX))
    return _framed(reduced)


def _framed(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    number, height, width, _ = tiles.shape
    framed = np.empty((number, height + 2, width + 2, 3), np.uint8)
    framed[:] = _FRAME
    framed[:, 1:-1, 1:-1] = tiles
    return framed
