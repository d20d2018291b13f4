"""Augmentation decided: which part of a photo each sample shows, mirrored or not, in which colours, and how samples mix.

Nothing here touches pixels (resampling.py does): boxes and shares are arrays of numbers, drawn for a whole batch at once.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.errors import ConfigError

__all__ = [
    "NUM_COLOR_DRAWS",
    "NUM_CROP_DRAWS",
    "Augmentation",
    "Crops",
    "Mix",
    "draw_colors",
    "draw_crops",
    "draw_mix",
    "whole_photo_boxes",
]

Fit = Literal["crop", "squash", "pad"]

_TRIES = 10  # the inception crop gives up after so many, as in TensorFlow and torchvision
NUM_CROP_DRAWS = 3 + 2 * _TRIES  # flip, place in x and y, and area and aspect ratio of each try
NUM_COLOR_DRAWS = 4  # brightness, contrast, saturation, hue
_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])  # NTSC, 1953
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)
_LOG_MAX_RATIO = float(np.log(4 / 3))  # aspect ratios 3/4 to 4/3, as in Szegedy et al. 2014


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What training does to photos. All is off by default, and a number of what is off stays at its default.

    Attributes:
        crop: "inception" shows a random part of `min_crop_area` to 1 of the area, at an aspect ratio of 3/4 to 4/3;
            "pad" shifts the fitted photo by up to `pad_pixels` output pixels and fills with the mean colour;
            "none" shows the photo as evaluation does.
        flip: mirror left and right with probability 1/2.
        color_jitter: the strength of random brightness, contrast and saturation: contrast and saturation are multiplied
            by a factor in [1 - strength, 1 + strength], brightness moves by up to strength / 2 of the pixel range.
        hue_jitter: hue turns by up to this share of the colour circle, either way.
        rand_augment_layers: how many randomly chosen operations each sample goes through (arXiv 1909.13719; the paper: 2);
            0 is off. See rand_augment.py for the operations and their scale.
        rand_augment_magnitude: how strong each of them is, over 0 and at most 30 (the paper: 10 to 20). The scale is that of
            the authors' code and not torchvision's, which is a third as strong; a small one is not gentle for every operation.
        random_erasing: the probability that a rectangle of 2 % to 1/3 of the image becomes normal noise (arXiv 1708.04896).
        mixup: alpha of the Beta distribution of the share that two photos are blended with; 0 is off (arXiv 1710.09412).
        cutmix: the same for a rectangle cut from another photo; 0 is off (arXiv 1905.04899). With both on, each sample
            draws one of them with equal probability.
        mix_probability: the share of samples that are mixed at all; 1 with both off.
        label_smoothing: the probability that is spread evenly over all classes.
    """

    crop: Literal["none", "pad", "inception"] = "none"
    min_crop_area: float = 0.08
    pad_pixels: int = 4
    flip: bool = False
    color_jitter: float = 0.0
    hue_jitter: float = 0.0
    rand_augment_layers: int = 0
    rand_augment_magnitude: float = 10.0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.min_crop_area <= 1.0:
            raise ConfigError(
                f"min_crop_area is {self.min_crop_area}; expected a share of the area, over 0 and at most 1."
            )
        if not 0.0 <= self.color_jitter <= 1.0 or not 0.0 <= self.hue_jitter <= 0.5:
            raise ConfigError("color_jitter lies in [0, 1] and hue_jitter in [0, 0.5]; 0 turns them off.")
        if not 0 <= self.rand_augment_layers <= 16 or not 0.0 < self.rand_augment_magnitude <= 30.0:
            raise ConfigError(
                f"rand_augment_layers is {self.rand_augment_layers} and rand_augment_magnitude {self.rand_augment_magnitude}; "
                "expected 0 to 16 layers (0 turns it off) and a magnitude over 0 and at most 30, such as 15."
            )
        if not 0.0 <= self.random_erasing <= 1.0:
            raise ConfigError(f"random_erasing is {self.random_erasing}; expected a probability, 0 to 1.")
        if self.pad_pixels < 0 or self.mixup < 0.0 or self.cutmix < 0.0:
            raise ConfigError("pad_pixels, mixup and cutmix must not be negative; 0 turns them off.")
        if not 0.0 <= self.mix_probability <= 1.0 or not 0.0 <= self.label_smoothing < 1.0:
            raise ConfigError("mix_probability must lie in [0, 1] and label_smoothing in [0, 1).")
        self._check_that_all_takes_effect()

    def _check_that_all_takes_effect(self) -> None:
        is_mixed = self.mixup > 0.0 or self.cutmix > 0.0
        for name, default, takes_effect, owner in (
            ("min_crop_area", 0.08, self.crop == "inception", "crop=inception"),
            ("pad_pixels", 4, self.crop == "pad", "crop=pad"),
            ("rand_augment_magnitude", 10.0, self.rand_augment_layers > 0, "rand_augment_layers over 0"),
            ("mix_probability", 1.0, is_mixed, "mixup or cutmix over 0"),
        ):
            if not takes_effect and getattr(self, name) != default:
                raise ConfigError(
                    f"augmentation.{name} is {getattr(self, name)}, which only matters with {owner}. "
                    f"Leave it at {default}, or set that."
                )


class Crops(NamedTuple):
    """What each sample of a batch shows.

    boxes: (B, 4) float64: left, top, width, height in pixels of the photo; a box may reach outside of it.
    flips: (B,) bool: mirrored left and right.
    """

    boxes: NDArray[np.float64]
    flips: NDArray[np.bool_]


class Mix(NamedTuple):
    """How each sample is mixed with the one before it in the batch (the first with the last).

    shares: (B,) float32 in [0, 1]: the sample's own share of the pixels and of the label.
    rectangles: (B, 4) int64: top, bottom, left, right of the part taken from the other photo; empty where the two are blended.
    """

    shares: NDArray[np.float32]
    rectangles: NDArray[np.int64]


def draw_crops(
    augmentation: Augmentation,
    draws: NDArray[np.float64],
    photo_sizes: NDArray[np.int64],
    *,
    image_size: tuple[int, int],
    fit: Fit,
    crop_fraction: float = 1.0,
) -> Crops:
    """Decide what each sample shows.

    Args:
        augmentation: the kind of crop and whether to flip.
        draws: (B, NUM_CROP_DRAWS) uniform in [0, 1).
        photo_sizes: (B, 2) height and width of each photo.
        image_size: (height, width) of the result.
        fit, crop_fraction: how a whole photo becomes an image; the meaning is `Preprocessing`'s.
    """
    flips = (draws[:, 0] < 0.5) & augmentation.flip
    if augmentation.crop == "inception":
        return Crops(_inception_boxes(draws[:, 1:], photo_sizes, augmentation.min_crop_area), flips)
    boxes = whole_photo_boxes(photo_sizes, image_size=image_size, fit=fit, crop_fraction=crop_fraction)
    if augmentation.crop == "pad":
        reach = augmentation.pad_pixels
        shifts = np.floor(draws[:, 1:3] * (2 * reach + 1)) - reach  # whole output pixels, in x and y
        boxes[:, 0] += shifts[:, 0] * boxes[:, 2] / image_size[1]
        boxes[:, 1] += shifts[:, 1] * boxes[:, 3] / image_size[0]
    return Crops(boxes, flips)


def whole_photo_boxes(
    photo_sizes: NDArray[np.int64], *, image_size: tuple[int, int], fit: Fit, crop_fraction: float = 1.0
) -> NDArray[np.float64]:
    """Return the (B, 4) boxes that show of each photo what evaluation sees of it, up to rounding to whole pixels."""
    sizes = photo_sizes.astype(np.float64)
    height, width = sizes[:, 0], sizes[:, 1]
    if fit != "squash":
        scales = np.stack([height / image_size[0], width / image_size[1]])
        scale = scales.min(axis=0) if fit == "crop" else scales.max(axis=0)
        height, width = scale * image_size[0], scale * image_size[1]
    if fit != "pad":
        height, width = height * crop_fraction, width * crop_fraction
    return np.stack([(sizes[:, 1] - width) / 2, (sizes[:, 0] - height) / 2, width, height], axis=1)


def _inception_boxes(
    draws: NDArray[np.float64], photo_sizes: NDArray[np.int64], min_area: float
) -> NDArray[np.float64]:
    """Rejection sampling as in torchvision's RandomResizedCrop, all tries at once; the first that fits is taken."""
    height, width = photo_sizes[:, :1].astype(np.float64), photo_sizes[:, 1:].astype(np.float64)
    tries = draws[:, 2:].reshape(len(draws), 2, _TRIES)
    area = height * width * (min_area + (1.0 - min_area) * tries[:, 0])  # (B, tries)
    ratio = np.exp(_LOG_MAX_RATIO * (2.0 * tries[:, 1] - 1.0))
    box_width, box_height = np.sqrt(area * ratio), np.sqrt(area / ratio)
    fits = (box_width <= width) & (box_height <= height)
    first = fits.argmax(axis=1)
    rows = np.arange(len(draws))
    # When no try fits, the photo is very long: the largest centred part of a permitted aspect ratio.
    ratio_whole = np.clip(width / height, np.exp(-_LOG_MAX_RATIO), np.exp(_LOG_MAX_RATIO))[:, 0]
    fallback_height = np.minimum(height[:, 0], width[:, 0] / ratio_whole)
    found = np.asarray(fits.any(axis=1))
    box_height = np.where(found, box_height[rows, first], fallback_height)
    box_width = np.where(found, box_width[rows, first], fallback_height * ratio_whole)
    place = np.where(found[:, None], draws[:, :2], 0.5)
    left = place[:, 0] * (width[:, 0] - box_width)
    top = place[:, 1] * (height[:, 0] - box_height)
    return np.stack([left, top, box_width, box_height], axis=1)


def draw_colors(augmentation: Augmentation, draws: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Decide how each sample's colours change; None when they do not.

    Args:
        augmentation: the strengths.
        draws: (B, NUM_COLOR_DRAWS) uniform in [0, 1).

    Returns:
        (B, 3, 4): the matrix, and in the last column the shift, that make a pixel's new RGB in [0, 1] of its old.
    """
    if augmentation.color_jitter == 0.0 and augmentation.hue_jitter == 0.0:
        return None
    signed = 2.0 * draws - 1.0
    brightness = 0.5 * augmentation.color_jitter * signed[:, 0]
    contrast = 1.0 + augmentation.color_jitter * signed[:, 1]
    saturation = 1.0 + augmentation.color_jitter * signed[:, 2]
    turn = 2.0 * np.pi * augmentation.hue_jitter * signed[:, 3]
    # In YIQ, hue is the angle and saturation the radius of (I, Q); luma Y stays.
    chroma = np.zeros((len(draws), 3, 3))
    chroma[:, 0, 0] = 1.0
    chroma[:, 1, 1] = chroma[:, 2, 2] = saturation * np.cos(turn)
    chroma[:, 2, 1] = saturation * np.sin(turn)
    chroma[:, 1, 2] = -chroma[:, 2, 1]
    matrices = contrast[:, None, None] * (_YIQ_TO_RGB @ chroma @ _RGB_TO_YIQ)
    shifts = 0.5 * (1.0 - contrast) + brightness  # contrast is about middle grey
    return np.concatenate([matrices, np.repeat(shifts[:, None, None], 3, axis=1)], axis=2).astype(np.float32)


def draw_mix(
    augmentation: Augmentation, *, seed: int, step: int, batch_size: int, image_size: tuple[int, int]
) -> Mix | None:
    """Decide how the samples of one step are mixed, as a function of (seed, step); None when mixing is off.

    Every sample draws its own share and rectangle.
    """
    if augmentation.mixup == 0.0 and augmentation.cutmix == 0.0:
        return None
    generator = np.random.default_rng([seed, step])
    chance = generator.random((4, batch_size))
    both = augmentation.mixup > 0.0 and augmentation.cutmix > 0.0
    cutting = (chance[0] < 0.5) if both else np.full(batch_size, augmentation.cutmix > 0.0)
    blend = generator.beta(augmentation.mixup or 1.0, augmentation.mixup or 1.0, batch_size)
    cut = generator.beta(augmentation.cutmix or 1.0, augmentation.cutmix or 1.0, batch_size)
    unmixed = chance[1] >= augmentation.mix_probability
    rectangles = _rectangles(np.where(cutting & ~unmixed, 1.0 - cut, 0.0), chance[2:], image_size)
    covered = (rectangles[:, 1] - rectangles[:, 0]) * (rectangles[:, 3] - rectangles[:, 2])
    # The label's share is that of the pixels really covered: a rectangle at the border is clipped.
    shares = np.where(cutting, 1.0 - covered / (image_size[0] * image_size[1]), blend)
    return Mix(np.where(unmixed, 1.0, shares).astype(np.float32), rectangles)


def _rectangles(
    areas: NDArray[np.float64], centres: NDArray[np.float64], image_size: tuple[int, int]
) -> NDArray[np.int64]:
    sides = np.sqrt(areas)
    edges = []
    for size, centre in zip(image_size, centres, strict=True):
        half, middle = sides * size / 2, centre * size
        edges += [np.clip(np.round(middle - half), 0, size), np.clip(np.round(middle + half), 0, size)]
    return np.stack(edges, axis=1).astype(np.int64)
