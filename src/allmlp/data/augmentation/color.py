"""Color jitter: random brightness, contrast, saturation and hue per sample, combined into one matrix; `warp` applies it."""

import numpy as np
from numpy.typing import NDArray

from allmlp.data.augmentation.config import Augmentation

__all__ = ["NUM_COLOR_DRAWS", "draw_colors"]

NUM_COLOR_DRAWS = 4  # brightness, contrast, saturation, hue
_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])  # NTSC, 1953
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)


def draw_colors(augmentation: Augmentation, draws: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Return the colour transform of each sample; None if color jitter is off.

    Args:
        augmentation: the strengths.
        draws: (B, NUM_COLOR_DRAWS), uniform in [0, 1).

    Returns:
        (B, 3, 4): an affine transform of RGB in [0, 1], the matrix followed by the offset in the last column.
    """
    if augmentation.color_jitter == 0.0 and augmentation.hue_jitter == 0.0:
        return None
    signed = 2.0 * draws - 1.0
    brightness = 0.5 * augmentation.color_jitter * signed[:, 0]
    contrast = 1.0 + augmentation.color_jitter * signed[:, 1]
    saturation = 1.0 + augmentation.color_jitter * signed[:, 2]
    angle = 2.0 * np.pi * augmentation.hue_jitter * signed[:, 3]
    # In YIQ, hue is the angle and saturation the radius of (I, Q); luma Y does not change.
    chroma = np.zeros((len(draws), 3, 3))
    chroma[:, 0, 0] = 1.0
    chroma[:, 1, 1] = chroma[:, 2, 2] = saturation * np.cos(angle)
    chroma[:, 2, 1] = saturation * np.sin(angle)
    chroma[:, 1, 2] = -chroma[:, 2, 1]
    matrices = contrast[:, None, None] * (_YIQ_TO_RGB @ chroma @ _RGB_TO_YIQ)
    offsets = 0.5 * (1.0 - contrast) + brightness  # contrast is relative to mid-grey
    return np.concatenate([matrices, np.repeat(offsets[:, None, None], 3, axis=1)], axis=2).astype(np.float32)
