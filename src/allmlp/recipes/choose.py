"""Which recipe fits a data set, when the user names none, and for how many epochs."""

import contextlib
import dataclasses
from collections.abc import Callable

import numpy as np

from allmlp.data import ImageDataset, decode
from allmlp.errors import DataError
from allmlp.recipes.small import cifar10, photos64, photos128
from allmlp.recipes.transfer import finetune
from allmlp.training import Recipe, num_training_photos

__all__ = ["FITTED_TO_PHOTOS", "finetune_for", "recipe_for"]

# Fewer photos seen than the first leave accuracy on the table; more than the second take hours on a laptop.
_MIN_PHOTOS_SEEN = 80_000
_MAX_PHOTOS_SEEN = 2_000_000

# The same for a Mixer that is trained already.
_MIN_PHOTOS_SEEN_AGAIN = 20_000
_MAX_PHOTOS_SEEN_AGAIN = 500_000


def finetune_for(dataset: ImageDataset) -> tuple[Recipe, str]:
    """Return a recipe for fine-tuning on `dataset`, and the reason as a sentence. The epochs follow the number of photos.

    Raises:
        DataError: there is no train split.
    """
    num_photos = num_training_photos(dataset)
    recipe = finetune()
    seen = min(max(num_photos * recipe.num_epochs, _MIN_PHOTOS_SEEN_AGAIN), max(_MAX_PHOTOS_SEEN_AGAIN, num_photos))
    epochs = max(1, round(seen / num_photos))
    reason = f"recipe {recipe.name}: {num_photos:,} training photos, so {epochs} epoch{'s' * (epochs != 1)}"
    return dataclasses.replace(recipe, num_epochs=epochs), reason


FITTED_TO_PHOTOS: dict[str, Callable[[ImageDataset], tuple[Recipe, str]]] = {"finetune": finetune_for}
"""Recipes whose epochs follow from the number of training photos: how each is made for a data set, with the reason.

A run of one is continued with the epochs that it has: its photos are the same.
"""


def recipe_for(dataset: ImageDataset) -> tuple[Recipe, str]:
    """Return a recipe for training on `dataset` from scratch, and the reason as a sentence.

    The image size follows the photos (the median short side of 32 of them), the epochs their number.

    Raises:
        DataError: there is no train split.
    """
    num_photos = num_training_photos(dataset)
    split = dataset.splits["train"]
    sides = []
    for index in np.unique(np.linspace(0, num_photos - 1, 32).astype(int)):
        with contextlib.suppress(DataError):  # training names every bad photo
            sides.append(min(decode(split.read(int(index)), name=split.where(int(index))).shape[:2]))
    side = int(np.median(sides)) if sides else 64
    if side <= 48:
        recipe = cifar10()
    elif side <= 96 or num_photos < 2_000:
        recipe = photos64()
    else:
        recipe = photos128()
    seen = min(max(num_photos * recipe.num_epochs, _MIN_PHOTOS_SEEN), max(_MAX_PHOTOS_SEEN, num_photos))
    recipe = dataclasses.replace(recipe, num_epochs=max(1, round(seen / num_photos)), max_minutes=None)
    return recipe, f"recipe {recipe.name}: {num_photos:,} training photos with a short side of about {side} pixels"
