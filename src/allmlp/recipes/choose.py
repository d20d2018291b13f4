"""Choice of a recipe and its number of epochs for a data set."""

import contextlib
import dataclasses
from collections.abc import Callable

import numpy as np

from allmlp.data import ImageDataset, decode
from allmlp.errors import DataError
from allmlp.io.display import counted
from allmlp.recipes.small import cifar10, photos64, photos128
from allmlp.recipes.transfer import finetune
from allmlp.training import Recipe, num_training_photos

__all__ = ["FITTED_TO_PHOTOS", "finetune_for", "recipe_for"]

# Training on fewer photos than the minimum costs accuracy; training on more than the maximum takes hours on a laptop.
# An epoch counts every photo again.
_MIN_PHOTOS_SEEN = 80_000
_MAX_PHOTOS_SEEN = 2_000_000

# The same limits for fine-tuning.
_MIN_PHOTOS_SEEN_FINETUNING = 20_000
_MAX_PHOTOS_SEEN_FINETUNING = 500_000


# With fewer photos, a tenth of them held out would say little about the accuracy on others.
_MIN_PHOTOS_HELD_OUT_ONCE = 300
_NUM_FOLDS = 5


def finetune_for(dataset: ImageDataset) -> tuple[Recipe, str]:
    """Return a recipe for fine-tuning on `dataset`, and the reason in words.

    The number of epochs follows from the number of photos. A few photos without a validation split are cross-validated.

    Raises:
        DataError: there is no train split, or it has photos of only one class.
    """
    with dataset.notes_with_errors():
        num_photos = num_training_photos(dataset)
    recipe = finetune()
    num_seen = max(num_photos * recipe.num_epochs, _MIN_PHOTOS_SEEN_FINETUNING)
    num_seen = min(num_seen, max(_MAX_PHOTOS_SEEN_FINETUNING, num_photos))
    epochs = max(1, round(num_seen / num_photos))
    is_held_out_once = "validation" in dataset.splits or num_photos >= _MIN_PHOTOS_HELD_OUT_ONCE
    folds = 0 if is_held_out_once else _NUM_FOLDS
    reason = f"recipe {recipe.name}: {counted(num_photos, 'photo')} before the hold-out, so {counted(epochs, 'epoch')}"
    if folds:
        reason = (
            f"recipe {recipe.name}: {counted(num_photos, 'photo')}, so {counted(epochs, 'epoch')}, and {folds} folds of "
            f"cross-validation (--folds 0 holds out a tenth once: faster, and a vaguer score)"
        )
    return dataclasses.replace(recipe, num_epochs=epochs, data=dataclasses.replace(recipe.data, folds=folds)), reason


FITTED_TO_PHOTOS: dict[str, Callable[[ImageDataset], tuple[Recipe, str]]] = {"finetune": finetune_for}
"""Recipes whose numbers of epochs and folds follow from the training photos, with the functions that fit them to a data set.

A run of such a recipe keeps these numbers when it is continued, because its photos are the same.
"""


def recipe_for(dataset: ImageDataset) -> tuple[Recipe, str]:
    """Return a recipe for training on `dataset` from scratch, and the reason in words.

    The image size follows from the size of the photos (the median short side of 32 of them), the number of epochs from
    the number of photos.

    Raises:
        DataError: there is no train split, or it has photos of only one class.
    """
    with dataset.notes_with_errors():
        num_photos = num_training_photos(dataset)
    split = dataset.splits["train"]
    sides = []
    for index in np.unique(np.linspace(0, num_photos - 1, 32).astype(int)):
        with contextlib.suppress(DataError):  # training reports every bad photo
            sides.append(min(decode(split.read(int(index)), name=split.where(int(index))).shape[:2]))
    side = int(np.median(sides)) if sides else 64
    if side <= 48:
        recipe = cifar10()
    elif side <= 96 or num_photos < 2_000:
        recipe = photos64()
    else:
        recipe = photos128()
    num_seen = min(max(num_photos * recipe.num_epochs, _MIN_PHOTOS_SEEN), max(_MAX_PHOTOS_SEEN, num_photos))
    recipe = dataclasses.replace(recipe, num_epochs=max(1, round(num_seen / num_photos)), max_minutes=None)
    return recipe, f"recipe {recipe.name}: {num_photos:,} training photos with a short side of about {side} pixels"
