"""Color jitter: colorsys and the definitions, applied to pixels."""

import numpy as np
import torch
from numpy.typing import NDArray

from allmlp.data import Augmentation
from allmlp.data.augmentation.color import draw_colors
from allmlp.data.augmentation.warp import color_jitter

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def recolored(pixels: list[list[float]], **strengths: float) -> NDArray[np.float32]:
    """Recolour one (n, 3) list of pixels in [0, 1] with the largest draws."""
    colors = draw_colors(Augmentation(**strengths), np.full((1, 4), 1.0))
    images = torch.tensor(pixels, dtype=torch.float32).T[None, :, None]
    return color_jitter(images, colors, **PLAIN)[0, :, 0].T.numpy()


def test_hue_turns_keep_grey_and_a_third_of_the_circle_is_about_the_next_primary() -> None:
    import colorsys

    assert np.allclose(recolored([[0.3, 0.3, 0.3]], hue_jitter=0.3), 0.3, atol=1e-4)
    before = [0.6, 0.4, 0.4]
    (after,) = recolored([before], hue_jitter=1 / 3)
    turned = (colorsys.rgb_to_hsv(*after)[0] - colorsys.rgb_to_hsv(*before)[0]) % 1.0
    assert min(abs(turned - 1 / 3), abs(turned - 2 / 3)) < 0.06  # YIQ's circle is not quite HSV's hexagon


def test_contrast_brightness_and_saturation_are_what_the_docstring_says() -> None:
    # The largest draws: contrast and saturation × 1.4, brightness + 0.2; grey has no saturation.
    assert np.allclose(recolored([[0.5, 0.5, 0.5]], color_jitter=0.4), 0.7, atol=1e-4)
    assert np.allclose(recolored([[0.4, 0.4, 0.4]], color_jitter=0.4), 0.5 - 0.14 + 0.2, atol=1e-4)
    assert recolored([[1.0, 1.0, 1.0]], color_jitter=0.4).max() == 1.0  # stays a pixel
    assert draw_colors(Augmentation(), np.zeros((3, 4))) is None
