"""Choice of a recipe for a data set, of its number of epochs, and of the recipe of a run from a name and settings."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from allmlp.checkpoints import STARTER
from allmlp.config import key_of, override
from allmlp.data import ImageDataset, decode, fold_of_photos
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import counted
from allmlp.recipes.registry import load_recipe
from allmlp.recipes.small import cifar10, photos64, photos128
from allmlp.recipes.transfer import finetune
from allmlp.training import Recipe, StoredRun, fitted_as, num_training_photos, type_checked, with_settings

__all__ = [
    "ChosenRecipe",
    "choose_for_finetuning",
    "choose_for_run",
    "choose_for_training",
    "finetune_for",
    "image_size_key",
    "recipe_for",
]

# Training on fewer photos than the minimum costs accuracy; training on more than the maximum takes hours on a laptop.
# An epoch counts every photo again.
_MIN_PHOTOS_SEEN = 80_000
_MAX_PHOTOS_SEEN = 2_000_000

# Measured with 100 and 300 photos (experiments/photos_seen): with 100, seeing over 5,000 gained nothing; with 300, 10,000 and
# 20,000 still gained up to a point each. 40 epochs are a compromise with the time that six runs of a cross-validation take.
_MAX_EPOCHS_OF_A_FEW = 40
_MIN_PHOTOS_SEEN_FINETUNING = 5_000
_PHOTOS_SEEN_FINETUNING = 20_000
_MAX_PHOTOS_SEEN_FINETUNING = 500_000


# With fewer photos, a tenth of them held out would say little about the accuracy on others: with 300, the interval was 32
# points wide, and cross-validation of 100 gives 28 (docs/evaluation.md). The limit itself is bounded by time, not measured: six
# runs of more photos would take too long on a laptop.
_MIN_PHOTOS_HELD_OUT_ONCE = 500
_MAX_FOLDS = 5
_NEED_HOLD_OUT = {"data.holdout", "best_by", "patience"}


def finetune_for(dataset: ImageDataset) -> tuple[Recipe, str]:
    """Return a recipe for fine-tuning on `dataset`, and the reason in words.

    The number of epochs follows from the number of photos. A few photos without a validation split are cross-validated, in as
    many folds as they fill, up to five.

    Raises:
        DataError: there is no train split, or it has photos of only one class.
    """
    with dataset.notes_with_errors():
        num_photos = num_training_photos(dataset)
    recipe = finetune()
    num_seen = min(num_photos * _MAX_EPOCHS_OF_A_FEW, _PHOTOS_SEEN_FINETUNING)
    num_seen = max(num_seen, num_photos * recipe.num_epochs, _MIN_PHOTOS_SEEN_FINETUNING)
    num_seen = min(num_seen, max(_MAX_PHOTOS_SEEN_FINETUNING, num_photos))
    epochs = max(1, round(num_seen / num_photos))
    is_held_out_once = "validation" in dataset.splits or num_photos >= _MIN_PHOTOS_HELD_OUT_ONCE
    folds = 0 if is_held_out_once else _num_folds(dataset)
    reason = f"recipe {recipe.name}: {counted(num_photos, 'photo')} before the hold-out, so {counted(epochs, 'epoch')}"
    if folds:
        fewer = "" if folds == _MAX_FOLDS else ", as many as so few photos fill"
        reason = (
            f"recipe {recipe.name}: {counted(num_photos, 'photo')}, so {counted(epochs, 'epoch')}, and {folds} folds of "
            f"cross-validation{fewer} (--folds 0 holds out a tenth once: faster, and a vaguer score)"
        )
    elif not is_held_out_once:
        reason += "; some are held out once, because they do not fill two folds"
    return dataclasses.replace(recipe, num_epochs=epochs, data=dataclasses.replace(recipe.data, folds=folds)), reason


def _num_folds(dataset: ImageDataset) -> int:
    """Return the number of folds that the photos fill, at most `_MAX_FOLDS`; 0 if they do not fill two.

    It does not depend on the seed, by which photos are only assigned to one fold or another.
    """
    for num_folds in range(_MAX_FOLDS, 1, -1):
        with contextlib.suppress(DataError):
            fold_of_photos(dataset, num_folds=num_folds, seed=0)
            return num_folds
    return 0


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


# Recipes whose numbers of epochs and folds follow from the training photos, with the functions that fit them to a data set.
# A run of such a recipe keeps these numbers when it is continued, because its photos are the same.
_FITTED_TO_PHOTOS: dict[str, Callable[[ImageDataset], tuple[Recipe, str]]] = {"finetune": finetune_for}


class ChosenRecipe(NamedTuple):
    """The recipe of a new run, and what its choice brought with it.

    dataset: the data set, if it was opened to choose the recipe.
    reason: for the choice, in words; "" if the user made it.
    """

    recipe: Recipe
    dataset: ImageDataset | None
    reason: str


def choose_for_training(
    recipe: Recipe | str | None, given: Sequence[str], open_photos: Callable[[], ImageDataset]
) -> ChosenRecipe:
    """Choose the recipe of a new run: `recipe`, or by None the one that fits the photos, with the settings `given`.

    Raises:
        ConfigError: as `load_recipe` and `with_settings`.
        DataError: as `recipe_for`, and what `open_photos` raises.
    """
    if recipe is not None:  # the photos are not opened: a typing error should not cost the time for listing them
        return ChosenRecipe(with_settings(_loaded(recipe), given), None, "")
    dataset = open_photos()
    chosen, reason = recipe_for(dataset)
    return ChosenRecipe(with_settings(chosen, given), dataset, reason)


def choose_for_finetuning(
    recipe: Recipe | str | None, given: Sequence[str], open_photos: Callable[[], ImageDataset]
) -> ChosenRecipe:
    """Choose the recipe of a new run that starts from a checkpoint: `recipe`, by None "finetune", with the settings `given`.

    If its numbers of epochs and folds follow from the photos, they are those that fit them.

    Raises:
        ConfigError: as `load_recipe` and `with_settings`; or a recipe without an initial checkpoint.
        DataError: as `finetune_for`, and what `open_photos` raises.
    """
    recipe = recipe or "finetune"
    resolved = with_settings(_loaded(recipe), given)
    if resolved.transfer.checkpoint is None:
        raise ConfigError(
            f"recipe {resolved.name if isinstance(recipe, Recipe) else recipe} does not specify an initial checkpoint. Give "
            "one with --from, or train from random weights with `allmlp train`."
        )
    if not isinstance(recipe, str) or recipe not in _FITTED_TO_PHOTOS:
        return ChosenRecipe(resolved, None, "")
    dataset = open_photos()
    chosen, reason = _FITTED_TO_PHOTOS[recipe](dataset)
    wants_hold_out = bool(_NEED_HOLD_OUT & set(map(key_of, given)))
    # With larger weights than those of the package, the folds would take hours where one run takes long enough.
    if chosen.data.folds and (wants_hold_out or resolved.transfer.checkpoint != STARTER):
        num_folds = chosen.data.folds
        chosen = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, folds=0))
        reason = (
            f"recipe {chosen.name}: {counted(num_training_photos(dataset), 'photo')} before the hold-out, so "
            f"{counted(chosen.num_epochs, 'epoch')}"
        )
        if not wants_hold_out:
            reason += (
                f"; a tenth is held out once (--folds {num_folds} cross-validates instead: slower, and a better score)"
            )
    resolved = with_settings(chosen, given)
    is_fitted = (resolved.num_epochs, resolved.data.folds) == (chosen.num_epochs, chosen.data.folds)
    return ChosenRecipe(resolved, dataset, reason if is_fitted else "")


def choose_for_run(run: StoredRun, recipe: Recipe | str | None, given: Sequence[str]) -> Recipe:
    """Return the recipe requested for an existing run: its own, or another one, with the settings `given`.

    Raises:
        ConfigError: as `load_recipe` and `with_settings`.
    """
    requested = type_checked(run.recipe) if recipe is None else _loaded(recipe)
    if isinstance(recipe, str) and recipe in _FITTED_TO_PHOTOS:  # the run's photos are the same
        requested = fitted_as(requested, run.recipe)
    return with_settings(requested, given)


def image_size_key(recipe: Recipe | str | None, run: StoredRun | None, given: Sequence[str]) -> str:
    """Return the setting that an image size changes: of the model, or of `transfer` if training starts from a checkpoint."""
    requested = run.recipe if run is not None and recipe is None else _loaded("photos64" if recipe is None else recipe)
    checkpoints = [assignment for assignment in given if key_of(assignment) == "transfer.checkpoint"]
    is_transfer = override(requested, checkpoints).transfer.checkpoint is not None
    return "transfer.image_size" if is_transfer else "model.image_size"


def _loaded(recipe: Recipe | str) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
