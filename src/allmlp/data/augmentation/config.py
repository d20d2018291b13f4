"""Augmentation settings of a recipe."""

from dataclasses import dataclass
from typing import Literal

from allmlp.errors import ConfigError

__all__ = ["Augmentation"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images are augmented. Everything is off by default. A setting without effect must keep its default.

    Attributes:
        crop: "inception" takes a random crop of `min_crop_area` to 1 of the area, with an aspect ratio of about 3/4 to 4/3;
            "pad" shifts the fitted image by up to `pad_pixels` output pixels and fills with the mean colour;
            "none" takes the same crop as evaluation.
        crop_law: how an inception crop is drawn. "torchvision": its area evenly, its aspect ratio evenly in the logarithm.
            "tensorflow", as in the authors' code: its aspect ratio and then its height evenly; such crops are smaller. See
            `crops`.
        flip: mirror horizontally with probability 1/2.
        color_jitter: strength of random brightness, contrast and saturation: contrast and saturation are multiplied
            by a factor in [1 - strength, 1 + strength], brightness is shifted by up to strength / 2 of the pixel range.
        hue_jitter: hue is rotated by up to this fraction of the colour circle, in either direction.
        rand_augment_layers: number of randomly chosen operations per sample (arXiv 1909.13719; the paper: 2); 0 is off.
            See `rand_augment` for the operations and their scale.
        rand_augment_magnitude: strength of each operation, above 0 and at most 30 (the paper: 10 to 20). The scale is that of
            the authors' code, not torchvision's, which is a third as strong. A small magnitude is strong for some operations.
        random_erasing: probability that a rectangle of 2 % to 1/3 of the image is replaced by noise (arXiv 1708.04896).
        mixup: alpha of the Beta distribution of the weight with which two images are blended; 0 is off (arXiv 1710.09412).
        cutmix: the same for a rectangle cut from another image; 0 is off (arXiv 1905.04899). If both are on, each sample
            uses one of them, with equal probability.
        mix_probability: fraction of the samples that are mixed.
        label_smoothing: probability mass that is spread evenly over all classes.
    """

    crop: Literal["none", "pad", "inception"] = "none"
    crop_law: Literal["torchvision", "tensorflow"] = "torchvision"
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
                f"min_crop_area is {self.min_crop_area}; expected a fraction of the area, above 0 and at most 1."
            )
        if not 0.0 <= self.color_jitter <= 1.0 or not 0.0 <= self.hue_jitter <= 0.5:
            raise ConfigError(
                f"color_jitter is {self.color_jitter} and hue_jitter is {self.hue_jitter}; expected 0 to 1 and 0 to 0.5 "
                "(0 turns them off)."
            )
        if not 0 <= self.rand_augment_layers <= 16 or not 0.0 < self.rand_augment_magnitude <= 30.0:
            raise ConfigError(
                f"rand_augment_layers is {self.rand_augment_layers} and rand_augment_magnitude is "
                f"{self.rand_augment_magnitude}; expected 0 to 16 layers (0 turns RandAugment off) and a magnitude above 0 and "
                "at most 30, such as 15."
            )
        if not 0.0 <= self.random_erasing <= 1.0:
            raise ConfigError(f"random_erasing is {self.random_erasing}; expected a probability from 0 to 1.")
        if self.pad_pixels < 0 or self.mixup < 0.0 or self.cutmix < 0.0:
            raise ConfigError(
                f"pad_pixels is {self.pad_pixels}, mixup is {self.mixup} and cutmix is {self.cutmix}; expected 0 (off) or more."
            )
        if not 0.0 <= self.mix_probability <= 1.0 or not 0.0 <= self.label_smoothing < 1.0:
            raise ConfigError(
                f"mix_probability is {self.mix_probability} and label_smoothing is {self.label_smoothing}; expected 0 <= "
                "mix_probability <= 1 and 0 <= label_smoothing < 1."
            )
        self._check_ineffective_settings()

    def _check_ineffective_settings(self) -> None:
        is_mixed = self.mixup > 0.0 or self.cutmix > 0.0
        for name, has_effect, condition in (
            ("crop_law", self.crop == "inception", "crop=inception"),
            ("min_crop_area", self.crop == "inception", "crop=inception"),
            ("pad_pixels", self.crop == "pad", "crop=pad"),
            ("rand_augment_magnitude", self.rand_augment_layers > 0, "rand_augment_layers above 0"),
            ("mix_probability", is_mixed, "mixup or cutmix above 0"),
        ):
            default = getattr(Augmentation, name)
            if not has_effect and getattr(self, name) != default:
                raise ConfigError(
                    f"augmentation.{name} is {getattr(self, name)}, which has no effect without {condition}. "
                    f"Leave it at {default}, or set {condition}."
                )
