"""RandAugment (Cubuk et al. 2019, arXiv 1909.13719) as in the paper's training: operations and their scale.

Each sample passes through operations drawn uniformly from a set of 16; each drawn operation is applied. The pixels are changed
by timm's functions on Pillow images. The scale differs from timm's own RandAugment: it is that of the authors' code
(google-research/big_vision, pp/autoaugment.py, cutout_const 40, translate_const 100), whose outputs are an oracle in the tests:

- the magnitude is not capped at 10: 15 shears by 0.45, rotates by 45 degrees and adds 165 below 128;
- "Solarize" inverts values of at least int(25.6 × magnitude) modulo 256, because that threshold is a byte there: 128 for 15,
  and all pixels for 10 and 20 (timm: none from 10 on);
- "Contrast" is relative to grey 196, the number of pixels of a 224 px image divided by 256 (timm: to the image's mean);
- "Cutout", a grey square, is one of the operations (timm: not);
- areas outside of the image are grey 128, and the filter is nearest neighbour (timm: a randomly drawn filter).

Lengths in pixels of the authors' 224 px images (translations, and half the side of Cutout's square) are scaled to other sizes.
"""

import functools
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.data.augmentation.config import Augmentation
from allmlp.errors import MissingExtraError
from allmlp.io.ordered_map import ordered_map

__all__ = [
    "NUM_DISTORTION_DRAWS",
    "OPERATIONS",
    "STRENGTHS",
    "Distortions",
    "check_timm",
    "distort",
    "draw_distortions",
]

# In the authors' order.
OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Cutout",
    "SolarizeAdd",
)
NUM_DISTORTION_DRAWS = 4  # per layer: operation, sign, Cutout's centre in y and x

_SIGNED = frozenset({"Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"})  # in a random direction

_GREY = (128, 128, 128)
_CONTRAST_GREY = (196, 196, 196)  # 224 · 224 / 256
_AUTHORS_PIXELS = 224


def _factor(level: float) -> float:
    return 1.8 * level + 0.1  # of blending: 0 gives the degenerate image, 1 the image itself


# From the level (magnitude / 10) to the argument of an operation; pixels are those of a 224 px image.
STRENGTHS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "Rotate": lambda level: 30.0 * level,  # degrees
        "Posterize": lambda level: int(4 * level),  # bits that are kept
        "Solarize": lambda level: int(256 * level) % 256,  # the threshold
        "SolarizeAdd": lambda level: int(110 * level),
        "Color": _factor,
        "Contrast": _factor,
        "Brightness": _factor,
        "Sharpness": _factor,
        "ShearX": lambda level: 0.3 * level,
        "ShearY": lambda level: 0.3 * level,
        "TranslateX": lambda level: 100.0 * level,  # pixels
        "TranslateY": lambda level: 100.0 * level,  # pixels
        "Cutout": lambda level: int(40 * level),  # pixels, half a side
    }
)


class Distortions(NamedTuple):
    """The operations of each sample, one per layer of L.

    operations: (B, L) int64, indices into OPERATIONS.
    signs: (B, L) float64, 1 or -1: the direction of a rotation, a shear or a translation.
    centres: (B, L, 2) float64 in [0, 1): Cutout's centre in y and x, as a fraction of the image.
    level: magnitude / 10, the same for all.
    """

    operations: NDArray[np.int64]
    signs: NDArray[np.float64]
    centres: NDArray[np.float64]
    level: float


def draw_distortions(augmentation: Augmentation, draws: NDArray[np.float64]) -> Distortions | None:
    """Return the operations of each sample; None if RandAugment is off.

    Args:
        augmentation: the number of layers L, and the magnitude.
        draws: (B, L · NUM_DISTORTION_DRAWS), uniform in [0, 1).
    """
    if augmentation.rand_augment_layers == 0:
        return None
    layers = draws.reshape(len(draws), augmentation.rand_augment_layers, NUM_DISTORTION_DRAWS)
    operations = np.floor(layers[:, :, 0] * len(OPERATIONS)).astype(np.int64)
    signs = np.where(layers[:, :, 1] < 0.5, 1.0, -1.0)
    return Distortions(operations, signs, layers[:, :, 2:], augmentation.rand_augment_magnitude / 10.0)


def check_timm() -> None:
    """Check that timm is installed, without importing it, which takes seconds.

    Raises:
        MissingExtraError: timm (the extra `randaugment`) is not installed.
    """
    if importlib.util.find_spec("timm") is None:
        raise MissingExtraError(
            "RandAugment uses timm's image operations, and timm is not installed. Install it with: pip install timm"
        )


def distort(images: NDArray[np.uint8], distortions: Distortions, *, num_workers: int = 0) -> NDArray[np.uint8]:
    """Apply the operations to RGB images (B, H, W, 3), in `num_workers` threads (0: in the calling thread)."""

    def apply_all(index: int) -> NDArray[np.uint8]:
        image = Image.fromarray(images[index])
        for operation, sign, centre in zip(
            distortions.operations[index], distortions.signs[index], distortions.centres[index], strict=True
        ):
            image = _apply(image, OPERATIONS[operation], distortions.level, float(sign), centre)
        return np.asarray(image)

    return np.stack(list(ordered_map(apply_all, range(len(images)), num_workers)))


def _apply(image: Image.Image, operation: str, level: float, sign: float, centre: NDArray[np.float64]) -> Image.Image:
    strength = STRENGTHS[operation](level) if operation in STRENGTHS else 0.0
    if operation == "Cutout":
        return _cut_out(image, strength / _AUTHORS_PIXELS, centre)
    if operation == "Contrast":
        return Image.blend(Image.new("RGB", image.size, _CONTRAST_GREY), image, strength)
    if operation in _SIGNED:
        strength *= sign
    name = operation
    if operation in ("TranslateX", "TranslateY"):
        name, strength = f"{operation}Rel", strength / _AUTHORS_PIXELS
    arguments = (strength,) if operation in STRENGTHS else ()
    function = _timm_functions()[name]
    changed: Image.Image = function(image, *arguments, fillcolor=_GREY, resample=Image.Resampling.NEAREST)
    return changed


def _cut_out(image: Image.Image, fraction: float, centre: NDArray[np.float64]) -> Image.Image:
    width, height = image.size
    half = round(fraction * min(width, height))
    y, x = int(centre[0] * height), int(centre[1] * width)
    image = image.copy()
    image.paste(_GREY, (max(0, x - half), max(0, y - half), min(width, x + half), min(height, y + half)))
    return image


@functools.cache
def _timm_functions() -> Mapping[str, Callable[..., Any]]:
    """Return timm's functions on Pillow images by name. Imported on first use, because importing timm takes seconds."""
    check_timm()
    functions: Mapping[str, Callable[..., Any]] = importlib.import_module("timm.data.auto_augment").NAME_TO_OP
    return functions
