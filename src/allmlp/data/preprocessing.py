"""Pre-processing: resize, crop and normalise a decoded photo of any size into a Mixer's input, with Pillow and NumPy only.

Pre-processing is stored in every checkpoint and export, so that a model's input is always prepared as in its training.
"""

import dataclasses
import math
import typing
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.errors import ConfigError

__all__ = ["Fit", "Preprocessing"]

Fit = Literal["crop", "squash", "pad"]
"""How a photo of another aspect ratio is made to fit; see `Preprocessing`."""

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_MAX_SCALED_TO_CROP = 16  # ratio of areas, which only wide panoramas exceed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How decoded photos become a model's input.

    `image_size` is (height, width); an int means a square. `fit` defines how another aspect ratio is made to fit:

    - "crop": the photo is scaled until it covers `image_size / crop_fraction`, then its centre is cut out. For a
      square this is the paper's evaluation ("resmall-crop" of the short side).
    - "squash": both sides are scaled to `image_size / crop_fraction`, whatever the aspect ratio, then the centre is cut out.
    - "pad": the whole photo is shown, centred on a background of the mean colour.

    `crop_fraction` in (0, 1] is the fraction of the scaled photo's short side that is kept (0.875: 224 of 256).
    `interpolation` is Pillow's filter, antialiased when it shrinks. `mean` and `std` are for RGB values in [0, 1]; the
    defaults give inputs in [-1, 1], as the paper's models expect.

    Raises:
        ConfigError: a value out of range, or a `crop_fraction` other than 1 with "pad", which crops nothing.
    """

    image_size: tuple[int, int]
    fit: Fit = "crop"
    crop_fraction: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if isinstance(self.image_size, int):
            object.__setattr__(self, "image_size", (self.image_size, self.image_size))
        problems = [*_size_problems(self.image_size), *_choice_problems(self)]
        if not 0 < self.crop_fraction <= 1:
            problems.append(f"crop_fraction is {self.crop_fraction}; expected more than 0 and at most 1")
        elif self.fit == "pad" and self.crop_fraction != 1:
            problems.append(f"crop_fraction is {self.crop_fraction}, but fit='pad' crops nothing; leave it at 1")
        for name, values, positive in (("mean", self.mean, False), ("std", self.std, True)):
            if len(values) != 3 or not all(math.isfinite(v) and (v > 0 or not positive) for v in values):
                kind = "finite and positive" if positive else "finite"
                problems.append(f"{name} is {values}; expected three {kind} numbers, one per channel (R, G, B)")
        if problems:
            raise ConfigError("preprocessing: " + "; ".join(problems) + ".")

    def resize(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and crop `image` (h, w, 3) to (H, W, 3) uint8. An image that fits already is returned itself.

        The result is bit-identical to Pillow's resize followed by a crop, except for panoramas (see `_resize_box`).
        """
        height, width = image.shape[:2]
        if (height, width) == self.image_size and self.crop_fraction == 1:
            return image
        original = Image.fromarray(image)
        if self.fit == "pad":
            return self._pad(original)
        scaled_height, scaled_width = self._scaled_size(height, width)
        top = (scaled_height - self.image_size[0]) // 2
        left = (scaled_width - self.image_size[1]) // 2
        if scaled_height * scaled_width > _MAX_SCALED_TO_CROP * self.image_size[0] * self.image_size[1]:
            return self._resize_box(original, top, left, (scaled_height, scaled_width))
        scaled = original.resize((scaled_width, scaled_height), _FILTERS[self.interpolation])
        return np.array(scaled.crop((left, top, left + self.image_size[1], top + self.image_size[0])))

    def normalise(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Convert uint8 (B, H, W, 3) to float32 (B, 3, H, W): (value / 255 - mean) / std, rounded after each operation."""
        batch, height, width, _ = images.shape
        result = np.empty((batch, 3, height, width), np.float32)
        for channel in range(3):
            plane = result[:, channel]
            np.divide(images[..., channel], np.float32(255), out=plane)
            plane -= np.float32(self.mean[channel])
            plane /= np.float32(self.std[channel])
        return result

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Convert one image (h, w, 3) uint8 to the model's input (3, H, W) float32."""
        model_input: NDArray[np.float32] = self.normalise(self.resize(image)[None])[0]
        return model_input

    def _scaled_size(self, height: int, width: int) -> tuple[int, int]:
        target_height, target_width = (round(side / self.crop_fraction) for side in self.image_size)
        if self.fit == "squash":
            return target_height, target_width
        ratio = max(target_height / height, target_width / width)
        return max(target_height, round(height * ratio)), max(target_width, round(width * ratio))

    def _resize_box(self, image: Image.Image, top: int, left: int, scaled: tuple[int, int]) -> NDArray[np.uint8]:
        """Resize and crop in one call: mathematically the same, but Pillow may round differently between its two passes.

        Otherwise a photo of 65,535 × 1 pixels would be scaled to gigapixels before its centre is cut out.
        """
        y, x = image.height / scaled[0], image.width / scaled[1]  # original pixels per scaled pixel
        box = (
            left * x,
            top * y,
            min((left + self.image_size[1]) * x, image.width),  # rounding must not exceed the photo
            min((top + self.image_size[0]) * y, image.height),
        )
        return np.array(image.resize(self.image_size[::-1], _FILTERS[self.interpolation], box=box))

    def _pad(self, image: Image.Image) -> NDArray[np.uint8]:
        height, width = self.image_size
        ratio = min(height / image.height, width / image.width)
        scaled = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        canvas = Image.new("RGB", (width, height), self._mean_colour())
        scaled_image = image.resize(scaled, _FILTERS[self.interpolation])
        canvas.paste(scaled_image, ((width - scaled[0]) // 2, (height - scaled[1]) // 2))
        return np.array(canvas)

    def _mean_colour(self) -> tuple[int, int, int]:
        red, green, blue = (min(255, max(0, round(255 * value))) for value in self.mean)
        return red, green, blue


def _size_problems(size: Any) -> list[str]:
    # The size may come from an untrusted JSON file.
    if isinstance(size, tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):
        return []
    return [f"image_size is {size!r}; expected (height, width) as positive integers"]


def _choice_problems(config: Preprocessing) -> list[str]:
    hints = typing.get_type_hints(Preprocessing)
    problems = []
    for name in ("fit", "interpolation"):
        value, allowed = getattr(config, name), typing.get_args(hints[name])
        if value not in allowed:
            problems.append(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
    return problems
