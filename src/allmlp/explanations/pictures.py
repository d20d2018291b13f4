"""Heat maps over a photo: orange speaks for a class, blue against it, and grey is 0."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.errors import ConfigError
from allmlp.explanations.explanation import Explanation, rows_of
from allmlp.explanations.geometry import PatchGeometry

__all__ = ["AGAINST_COLOUR", "FOR_COLOUR", "heat_map", "occlusion_scale", "overlay"]

# Told apart by people with any kind of colour vision.
FOR_COLOUR = (230, 97, 1)
AGAINST_COLOUR = (33, 102, 200)
_MAX_OPACITY = 0.85
_LUMINANCE = (0.299, 0.587, 0.114)
_UNSEEN_WHITE = 0.72  # share of white over the parts that the model does not see


def overlay(
    explanation: Explanation,
    label: str | None = None,
    *,
    against: str | None = None,
    kind: Literal["contributions", "occlusion"] = "contributions",
    smooth: bool = False,
    scale: float | None = None,
) -> Image.Image:
    """Draw the heat map of a class over the photo, in grey; what the model does not see is nearly white.

    Args:
        explanation: of the photo.
        label: the class; None: the most probable one of those that were asked for.
        against: show the difference to the contributions to this class.
        kind: "contributions" of the patches, or "occlusion": by how much the logit falls if a tile is covered.
        smooth: interpolate between the centres of the patches. The tiles are the truth.
        scale: the value at which colours are strongest; None: one for all maps of this photo (of occlusion: for its classes).

    Returns:
        An RGB image of the size of `explanation.photo`.

    Raises:
        ConfigError: not a class of the model, or occlusion that was not computed.
    """
    label = explanation.classes[0] if label is None else label
    if kind == "contributions":
        values = explanation.map(label, against=against)
        scale = explanation.scale if scale is None else scale
    elif explanation.occlusion is None:
        raise ConfigError("This explanation has no occlusion; ask for it: explain(..., occlusion=True).")
    else:
        losses = explanation.occlusion
        (row, *others) = rows_of(explanation.class_names, [label, *([] if against is None else [against])])
        values = losses[..., row] - losses[..., others[0]] if others else losses[..., row]
        scale = occlusion_scale(explanation) if scale is None else scale
    return heat_map(explanation.photo, values, explanation.geometry, scale=scale, smooth=smooth)


def occlusion_scale(explanation: Explanation) -> float:
    """Return the largest absolute value of the occlusion of the chosen classes; 0 if there is none."""
    if explanation.occlusion is None:
        return 0.0
    return float(np.abs(explanation.occlusion[..., rows_of(explanation.class_names, explanation.classes)]).max())


def heat_map(
    photo: NDArray[np.uint8],
    values: NDArray[np.float32],
    geometry: PatchGeometry,
    *,
    scale: float,
    smooth: bool = False,
) -> Image.Image:
    """Draw `values` (rows, columns) over a photo (h, w, 3) of any size, which shows the same as the one of `geometry`."""
    y, is_seen_y = _positions(geometry, 0, photo.shape[0])
    x, is_seen_x = _positions(geometry, 1, photo.shape[1])
    heat = _between(values, y, x) if smooth else values[np.floor(y).astype(int)][:, np.floor(x).astype(int)]
    heat = np.clip(heat / scale, -1, 1) if scale > 0 else np.zeros_like(heat)
    grey = (photo.astype(np.float32) @ np.array(_LUMINANCE, np.float32))[..., None]
    opacity = _MAX_OPACITY * np.abs(heat)[..., None]
    colour = np.where(heat[..., None] > 0, np.array(FOR_COLOUR, np.float32), np.array(AGAINST_COLOUR, np.float32))
    seen = grey * (1 - opacity) + colour * opacity
    unseen = grey * (1 - _UNSEEN_WHITE) + 255 * _UNSEEN_WHITE
    is_seen = (is_seen_y[:, None] & is_seen_x[None])[..., None]
    return Image.fromarray(np.rint(np.where(is_seen, seen, unseen)).astype(np.uint8))


def _positions(geometry: PatchGeometry, axis: int, num_pixels: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the position of each pixel's centre in the grid, in patches from 0 to n, and whether the model sees it."""
    start, end, n = geometry.shown[axis], geometry.shown[axis + 2], geometry.grid[axis]
    centres = (np.arange(num_pixels) + 0.5) * geometry.photo_size[axis] / num_pixels
    positions = (centres - start) / (end - start) * n
    return np.clip(positions, 0, np.nextafter(n, 0)), (positions >= 0) & (positions < n)


def _between(values: NDArray[np.float32], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate linearly between the centres of the patches, along one axis after the other."""
    columns = np.arange(values.shape[1]) + 0.5
    rows = np.arange(values.shape[0]) + 0.5
    wide = np.stack([np.interp(x, columns, row) for row in values])  # (rows, w)
    return np.stack([np.interp(y, rows, column) for column in wide.T], axis=1)  # (h, w)
