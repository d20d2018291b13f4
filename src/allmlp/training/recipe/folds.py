"""The recipes of the folds of a cross-validated run."""

import dataclasses
import math
from typing import Any

from allmlp.errors import ConfigError
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe

__all__ = ["check_fold_revisions", "recipe_of_fold", "without_folds"]


def recipe_of_fold(recipe: ResolvedRecipe, number: int, *, num_photos: int, num_fold_photos: int) -> ResolvedRecipe:
    """Return the recipe of fold `number`, from 0, of a run on `num_photos`: as many steps, on `num_fold_photos`.

    With as many epochs, the features of a fold's Mixer would move less far from the initial weights than those of the run, and
    the threshold of "unknown" would reject too many photos. As in the run itself, no photo chooses an epoch: the last weights
    are scored.
    """
    schedule = recipe.schedule
    changes: dict[str, Any] = {
        "best_by": "last",
        "data": dataclasses.replace(recipe.data, folds=0, bad_photos="stop"),
        "max_minutes": None if recipe.max_minutes is None else recipe.max_minutes / (1 + recipe.data.folds),
    }
    if schedule.fold_revisions:
        revisions = schedule.fold_revisions[number]
        changes["schedule"] = dataclasses.replace(schedule, revisions=revisions, fold_revisions=())
    # With a time budget, the number of steps cannot be set. What such a run has recorded holds for the same planned steps.
    if recipe.max_minutes is not None or schedule.fold_revisions:
        num_epochs = max(1, round(recipe.num_epochs * num_photos / num_fold_photos))
        return dataclasses.replace(recipe, **changes, num_epochs=num_epochs, num_steps=None)
    num_steps = recipe.num_steps_on(num_photos)
    num_epochs = max(1, math.ceil(num_steps * recipe.batch_size / num_fold_photos))
    return dataclasses.replace(recipe, **changes, num_epochs=num_epochs, num_steps=num_steps)


def without_folds(recipe: Recipe) -> Recipe:
    """Return the recipe of a run that is not cross-validated, because its photos have a validation split."""
    data = dataclasses.replace(recipe.data, folds=0)
    return dataclasses.replace(recipe, data=data, schedule=dataclasses.replace(recipe.schedule, fold_revisions=()))


def check_fold_revisions(recipe: Recipe) -> None:
    """Check that a recipe has the revisions of all folds or of none.

    Raises:
        ConfigError: of another number.
    """
    num_revised, num_folds = len(recipe.schedule.fold_revisions), recipe.data.folds
    if num_revised not in (0, num_folds):
        raise ConfigError(
            f"schedule.fold_revisions has {num_revised} lists of revisions, and data.folds is {num_folds}; expected one per "
            "fold, or none."
        )
