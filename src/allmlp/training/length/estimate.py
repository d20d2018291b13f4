"""How long a run will take on this machine, estimated before it begins."""

import dataclasses
import time

import torch

from allmlp.data import ImageDataset
from allmlp.hardware.devices import choose_device, is_bfloat16_faster
from allmlp.model import MixerConfig, MlpMixer, num_multiply_adds
from allmlp.training.recipe.cached_passes import trains_on_features, with_cached_passes
from allmlp.training.recipe.recipe import Recipe

__all__ = ["estimate_minutes"]

# Of one block, on a CPU: of a small Mixer, two images would mostly time what each call costs, whatever its batch.
_TIMED_MULTIPLY_ADDS = 5e8
_MAX_TIMED_IMAGES = 64
_NUM_TURNS = 2


def estimate_minutes(recipe: Recipe, model: MixerConfig, dataset: ImageDataset, *, device: str = "auto") -> float:
    """Return about how many minutes a run of `recipe` would take on `dataset`, if it trains a Mixer of shape `model`.

    Passes of random images through one of the blocks are timed; decoding, augmentation and other work are not counted.
    `recipe` need not be resolved.

    Raises:
        ConfigError: an unavailable device.
    """
    recipe = with_cached_passes(recipe)
    timer = _Timer(model, choose_device(device), recipe.precision)
    forward = timer.seconds_per_image(is_step=False)
    num_photos = {name: len(split) for name, split in dataset.splits.items()}
    num_folds = 0 if "validation" in num_photos else recipe.data.folds
    if "validation" not in num_photos and not num_folds:
        held_out = round(recipe.data.holdout * num_photos["train"])
        num_photos |= {"validation": held_out, "train": num_photos["train"] - held_out}
    num_scored = sum(num_photos.values()) - num_photos["train"]
    num_validation = num_photos["train"] if num_folds else num_photos.get("validation", 0)  # each in one of the folds
    if recipe.num_steps is None:
        num_epochs: float = recipe.num_epochs
    else:
        num_epochs = recipe.num_steps * recipe.batch_size / num_photos["train"]
    if trains_on_features(recipe):  # the folds take them from their run
        num_passes = min(recipe.transfer.cached_passes, num_epochs)
        seconds = forward * (num_passes * num_photos["train"] + num_validation)
    else:
        step = timer.seconds_per_image(is_step=True)
        seconds = num_epochs * ((1 + num_folds) * step * num_photos["train"] + forward * num_validation)
    if num_folds:  # each predicts its held-out photos, and compares new features of them with those of the others
        seconds += forward * num_photos["train"] * (1 if recipe.transfer.trained_blocks == 0 else 2 + num_folds)
    minutes = (seconds + forward * num_scored) / 60
    return minutes if recipe.max_minutes is None else min(minutes, recipe.max_minutes)


class _Timer:
    """Times passes through one block of a Mixer; the time of the others follows from their multiply-adds."""

    def __init__(self, config: MixerConfig, device: str, precision: str) -> None:
        timed = dataclasses.replace(config, num_blocks=1)
        self._device = device
        self._is_bfloat16 = precision == "bfloat16" or (precision == "auto" and is_bfloat16_faster(device))
        self._model = MlpMixer(timed).to(device)
        num_images = _MAX_TIMED_IMAGES
        if device == "cpu":
            num_images = min(num_images, max(2, int(_TIMED_MULTIPLY_ADDS / num_multiply_adds(timed))))
        self._images = torch.randn(num_images, 3, *config.image_size, device=device)
        self._scale = num_multiply_adds(config) / num_multiply_adds(timed)

    def seconds_per_image(self, *, is_step: bool) -> float:
        """Return the seconds of a forward pass through the whole Mixer and, if `is_step`, the backward pass, per image."""
        self._seconds(is_step=is_step)  # allocates memory
        return min(self._seconds(is_step=is_step) for _ in range(_NUM_TURNS)) * self._scale / len(self._images)

    def _seconds(self, *, is_step: bool) -> float:
        start = time.perf_counter()
        with torch.set_grad_enabled(is_step):
            with torch.autocast(self._device, torch.bfloat16, enabled=self._is_bfloat16):
                total = self._model(self._images).sum()
            if is_step:
                total.backward()
        total.item()  # waits for the device
        return time.perf_counter() - start
