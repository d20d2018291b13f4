"""Pre-processing: resize, crop and normalise a decoded photo of any size into a Mixer's input, with Pillow and NumPy only.

Pre-processing is stored in every checkpoint and export, so that a model's input is always prepared as in its training.
"""

import dataclasses
import math
import typing
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.data.laws import Fit, Law, crop_offset, scaled_size, settings_against_law
from allmlp.data.resizing.axes import resize_box_by_axes, resize_by_axes
from allmlp.data.resizing.tensorflow import Window, resize_area, resize_bilinear
from allmlp.errors import ConfigError

__all__ = ["Preparation", "Preprocessing"]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_MAX_SCALED_TO_CROP = 16  # ratio of areas, which only wide panoramas exceed


class Preparation(Protocol):
    """What makes a model's input of decoded photos: a `Preprocessing`, or the graph of an export with the pixels inside."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the input."""

    def resize(self, image: NDArray[np.uint8], /) -> NDArray[Any]:
        """Return what is kept of a photo (h, w, 3): an array of the same shape for each."""

    def normalise(self, images: NDArray[Any], /) -> NDArray[np.float32]:
        """Return the input (B, 3, H, W) from a stack of what `resize` returned."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How decoded photos become a model's input.

    `image_size` is (height, width); an int means a square. `fit` defines how another aspect ratio is made to fit:

    - "crop": the photo is scaled until it covers `image_size / crop_fraction`, then its centre is cut out. For a
      square this is the paper's evaluation ("resmall-crop" of the short side).
    - "squash": both sides are scaled to `image_size / crop_fraction`, whatever the aspect ratio, then the centre is cut out.
    - "pad": the whole photo is shown, centred on a background of the mean colour.

    `crop_fraction` in (0, 1] is the fraction of the scaled photo's short side that is kept (0.875: 224 of 256).
    `interpolation` is the filter. `mean` and `std` are for RGB values in [0, 1]; the defaults give inputs in [-1, 1], as the
    paper's models expect. `law` names the code whose pixels these are:

    - "allmlp": Pillow's filters, antialiased when they shrink; sizes are rounded to the nearest integer.
    - "timm": the same filters; sides / `crop_fraction` and the longer side are rounded down, as timm and torchvision do. The
      pixels are timm's own. With Pillow 13, timm's differ for photos taller than twice their width, and for tall photos that
      are squashed: by a level, or by several where a bicubic filter exceeds black or white (see `resize_by_axes`).
    - "big_vision", the authors' code for pre-training: without antialiasing, by area with "crop", bilinearly with "squash" and
      in training. Levels are rounded down.
    - "vit_jax", the authors' code for fine-tuning: squashed bilinearly without antialiasing. Levels are rounded to the nearest
      integer, where that code keeps fractions.

    Raises:
        ConfigError: a value out of range, a `crop_fraction` other than 1 with "pad", which crops nothing, or a setting that the
            code of `law` does not have.
    """

    image_size: tuple[int, int]
    fit: Fit = "crop"
    crop_fraction: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    law: Law = "allmlp"

    def __post_init__(self) -> None:
        if isinstance(self.image_size, int):
            object.__setattr__(self, "image_size", (self.image_size, self.image_size))
        problems = [*_size_problems(self.image_size), *_choice_problems(self)]
        if not problems and (against := settings_against_law(self.law, vars(self))):
            problems.append(against)
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

    @property
    def is_antialiased(self) -> bool:
        """Whether pixels are averaged when a photo is reduced in training."""
        return self.law in ("allmlp", "timm")

    def resize(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and crop `image` (h, w, 3) to (H, W, 3) uint8. An image that fits already is returned itself.

        The result is the same for every version of Pillow.
        """
        size = (image.shape[0], image.shape[1])
        if size == self.image_size and self.crop_fraction == 1:
            return image
        scaled = scaled_size(self.law, self.fit, self.image_size, self.crop_fraction, size)
        if self.fit == "pad":
            return self._pad(Image.fromarray(image), scaled)
        top, left = (crop_offset(self.law, a - b) for a, b in zip(scaled, self.image_size, strict=True))
        if not self.is_antialiased:
            return self._resize_without_antialiasing(image, scaled, Window(top, left, *self.image_size))
        original = Image.fromarray(image)
        if scaled[0] * scaled[1] > _MAX_SCALED_TO_CROP * self.image_size[0] * self.image_size[1]:
            return self._resize_box(original, top, left, scaled)
        whole = resize_by_axes(original, scaled[::-1], _FILTERS[self.interpolation])
        return np.array(whole.crop((left, top, left + self.image_size[1], top + self.image_size[0])))

    def shown_box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return (top, left, bottom, right) of what the model sees of a photo of `size` (height, width), in the photo's pixels.

        With `fit` "pad", the box exceeds the photo by the background around it.
        """
        scaled = scaled_size(self.law, self.fit, self.image_size, self.crop_fraction, size)
        box = []
        for side, original, kept in zip(scaled, size, self.image_size, strict=True):
            start = -((kept - side) // 2) if self.fit == "pad" else crop_offset(self.law, side - kept)
            box.append((start * original / side, (start + kept) * original / side))
        (top, bottom), (left, right) = box
        return top, left, bottom, right

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

    def _resize_without_antialiasing(
        self, image: NDArray[np.uint8], scaled: tuple[int, int], window: Window
    ) -> NDArray[np.uint8]:
        if self.law == "vit_jax":
            return np.rint(resize_bilinear(image, scaled, window)).astype(np.uint8)
        levels = (resize_area if self.fit == "crop" else resize_bilinear)(image, scaled, window)
        return np.clip(levels, 0, 255, out=levels).astype(np.uint8)  # rounded down

    def _resize_box(self, image: Image.Image, top: int, left: int, scaled: tuple[int, int]) -> NDArray[np.uint8]:
        """Resize only what is kept.

        Otherwise a photo of 65,535 × 1 pixels would be scaled to gigapixels before its centre is cut out.
        """
        y, x = image.height / scaled[0], image.width / scaled[1]  # original pixels per scaled pixel
        height, width = self.image_size
        # Rounding must not exceed the photo.
        right, bottom = min((left + width) * x, image.width), min((top + height) * y, image.height)
        box = (left * x, top * y, right, bottom)
        return np.array(resize_box_by_axes(image, (width, height), _FILTERS[self.interpolation], box))

    def _pad(self, image: Image.Image, scaled: tuple[int, int]) -> NDArray[np.uint8]:
        height, width = self.image_size
        canvas = Image.new("RGB", (width, height), self.mean_colour)
        scaled_image = resize_by_axes(image, scaled[::-1], _FILTERS[self.interpolation])
        canvas.paste(scaled_image, ((width - scaled[1]) // 2, (height - scaled[0]) // 2))
        return np.array(canvas)

    @property
    def mean_colour(self) -> tuple[int, int, int]:
        """The colour of the background with `fit` "pad", as levels of R, G and B."""
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
    for name in ("fit", "interpolation", "law"):
        value, allowed = getattr(config, name), typing.get_args(hints[name])
        if value not in allowed:
            problems.append(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
    return problems
