"""Training recipes: plain functions that return a `Recipe`, each with its command, expected result, cost and source.

Safe to change: `small` (ours), `transfer`, `choose` (which recipe fits the photos, with which settings).
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
from allmlp.recipes.registry import RECIPES, load_recipe
from allmlp.recipes.run_recipe import finetune, train

__all__ = [
    "DEVIATIONS",
    "RECIPES",
    "ChosenRecipe",
    "Deviation",
    "choose_for_finetuning",
    "choose_for_run",
    "choose_for_training",
    "deviations_of",
    "finetune",
    "finetune_for",
    "image_size_key",
    "load_recipe",
    "recipe_for",
    "train",
]
