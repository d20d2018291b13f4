"""Training recipes: plain functions that return a `Recipe`, each with its command, expected result, cost and source.

Safe to change: `small` (ours), `transfer`, `choose` (which recipe fits the photos, with which settings), `presets` (qualities).
Invariants: `paper`; the tests compare its numbers with the paper's tables. What differs from the authors' is in `deviations`.
To add one: a function here and a line in `RECIPES` (`registry`); a variation is a `dataclasses.replace` of another recipe.
"""

from allmlp.recipes.choose import (
    ChosenRecipe,
    choose_for_finetuning,
    choose_for_run,
    choose_for_training,
    finetune_for,
    image_size_key,
    recipe_for,
)
from allmlp.recipes.deviations import DEVIATIONS, Deviation, deviations_of
from allmlp.recipes.presets import (
    BETTER_QUALITY,
    QUALITIES,
    Quality,
    cost_of_better,
    cost_of_quality,
    quality_settings,
)
from allmlp.recipes.registry import RECIPES, load_recipe
from allmlp.recipes.run_recipe import finetune, train

__all__ = [
    "BETTER_QUALITY",
    "DEVIATIONS",
    "QUALITIES",
    "RECIPES",
    "ChosenRecipe",
    "Deviation",
    "Quality",
    "choose_for_finetuning",
    "choose_for_run",
    "choose_for_training",
    "cost_of_better",
    "cost_of_quality",
    "deviations_of",
    "finetune",
    "finetune_for",
    "image_size_key",
    "load_recipe",
    "quality_settings",
    "recipe_for",
    "train",
]
