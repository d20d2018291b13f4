"""The commands of the paper's own trainings, which no test can run: their recipes and settings are there."""

import shlex

import pytest

from allmlp.model import VARIANTS
from allmlp.recipes import load_recipe
from allmlp.studies import STUDIES, FullScale, load_study
from allmlp.training import with_settings

_TRAININGS = [
    (name, training)
    for name in STUDIES
    for training in load_study(name).full_scale
    if not training.command.startswith("allmlp study")  # whose options its own tests check
]


@pytest.mark.parametrize(("study", "training"), _TRAININGS, ids=lambda value: getattr(value, "command", value))
def test_a_command_names_a_recipe_that_is_there(study: str, training: FullScale) -> None:
    words = shlex.split(training.command)
    options = [(words[index], words[index + 1]) for index in range(len(words) - 1)]
    recipes = [value for option, value in options if option == "--recipe"]
    assert len(recipes) == 1
    recipe = with_settings(load_recipe(recipes[0]), [value for option, value in options if option == "--set"])
    if "--from" not in words:  # otherwise the checkpoint decides
        widths = VARIANTS[training.variant]
        assert (recipe.model.patch_size, recipe.model.hidden_dim) == (widths.patch_size, widths.hidden_dim)
