"""The commands of the paper's own trainings, which no test can run: their recipes and settings are there."""

import shlex

import pytest

from allmlp.model import VARIANTS
from allmlp.recipes import load_recipe
from allmlp.studies import STUDIES, FullScale, StudyOptions, load_study
from allmlp.studies.paper import regularisation
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


def _settings(command: str) -> list[str]:
    words = shlex.split(command)
    return [words[index + 1] for index, word in enumerate(words[:-1]) if word == "--set"]


def test_every_arm_of_the_regularisation_has_its_training() -> None:
    """Its verdict is about "none of them", next to which dropout is named."""
    parts = []
    for training in load_study("regularisation").full_scale:
        recipe = with_settings(load_recipe("imagenet_b16"), _settings(training.command))
        magnitude = recipe.augmentation.rand_augment_magnitude if recipe.augmentation.rand_augment_layers else 0.0
        model, decay = recipe.model, recipe.optimizer.weight_decay
        parts.append((magnitude, recipe.augmentation.mixup, model.stochastic_depth, decay, model.dropout))
    names = ("rand_augment", "mixup", "stochastic_depth", "weight_decay", "dropout")
    arms = regularisation.STUDY.arms(StudyOptions(num_seeds=1))
    assert parts == [tuple(arm.settings[name] for name in names) for arm in arms]


def test_both_fine_tunings_that_are_compared_have_their_commands() -> None:
    """Every run is pre-trained once, and fine-tuned from at 224 and at 448 pixels."""
    commands = [training.command for training in load_study("resolution").full_scale]
    runs = [shlex.split(command)[-1] for command in commands if command.startswith("allmlp train")]
    assert len(set(runs)) == len(runs) == 3
    for run in runs:
        sources = [words[words.index("--from") + 1] for words in map(shlex.split, commands) if "--from" in words]
        assert sources.count(run) == sources.count(f"{run}-448") == 1


@pytest.mark.parametrize("name", ["scale", "permutations", "token_mixing", "data_size", "transfer", "resolution"])
def test_a_study_says_which_of_its_arms_have_no_command(name: str) -> None:
    assert "at the paper's scale" in load_study(name).setup
