"""Augmentation settings of a recipe."""

from dataclasses import dataclass
from typing import Literal

from allmlp.errors import ConfigError

__all__ = ["Augmentation"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training changes images. Everything is off by default, and a number of what is off stays at its default.

    Attributes:
        crop: "inception" shows a random part of `min_crop_area` to 1 of the area, at an aspect ratio of 3/4 to 4/3;
            "pad" shifts the fitted photo by up to `pad_pixels` output pixels and fills with the mean colour;
            "none" shows the photo as evaluation does.
        flip: mirror left and right with probability 1/2.
        color_jitter: the strength of random brightness, contrast and saturation: contrast and saturation are multiplied
            by a factor in [1 - strength, 1 + strength], brightness moves by up to strength / 2 of the pixel range.
        hue_jitter: hue turns by up to this share of the colour circle, either way.
        rand_augment_layers: how many randomly chosen operations each sample goes through (arXiv 1909.13719; the paper: 2);
            0 is off. See `rand_augment` for the operations and their scale.
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
            raise ConfigError("color_jitter must be in [0, 1] and hue_jitter in [0, 0.5]; 0 turns them off.")
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
            raise ConfigError("mix_probability must be in [0, 1] and label_smoothing in [0, 1).")
        self._check_that_all_takes_effect()

    def _check_that_all_takes_effect(self) -> None:
        is_mixed = self.mixup > 0.0 or self.cutmix > 0.0
        for name, takes_effect, owner in (
            ("min_crop_area", self.crop == "inception", "crop=inception"),
            ("pad_pixels", self.crop == "pad", "crop=pad"),
            ("rand_augment_magnitude", self.rand_augment_layers > 0, "rand_augment_layers over 0"),
            ("mix_probability", is_mixed, "mixup or cutmix over 0"),
        ):
            default = getattr(Augmentation, name)
            if not takes_effect and getattr(self, name) != default:
                raise ConfigError(
                    f"augmentation.{name} is {getattr(self, name)}, which only matters with {owner}. "
                    f"Leave it at {default}, or set that."
                )
