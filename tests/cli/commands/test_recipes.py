import shlex

import pytest

from allmlp.config import override
from allmlp.recipes import RECIPES


def test_every_recipe_is_listed_with_its_claim(allmlp):
    outcome = allmlp("recipes")
    assert outcome.code == 0
    for name, recipe in RECIPES.items():
        claim = recipe.__doc__.strip().splitlines()[0]
        assert any(line.split(maxsplit=1) == [name, claim] for line in outcome.out.splitlines())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_shows_its_whole_claim(name, allmlp):
    outcome = allmlp("recipes", name)
    assert outcome.code == 0
    for line in RECIPES[name].__doc__.strip().splitlines():
        assert line.strip() in outcome.out
    command = "finetune" if "finetune" in name else "train"
    assert f"allmlp {command} clothing --recipe {name} " in outcome.out.partition("Next:")[2]


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_that_a_recipe_ends_with_is_not_refused_for_its_warm_up(name, allmlp):
    command = allmlp("recipes", name).out.partition("Next:")[2].strip().splitlines()[0]
    words = shlex.split(command, comments=True)
    recipe = override(RECIPES[name](), [words[words.index("--set") + 1]] if "--set" in words else [])
    assert recipe.schedule.warmup_steps is None or recipe.num_steps > recipe.schedule.warmup_steps


def test_an_unknown_recipe_exits_2_with_the_nearest(allmlp):
    outcome = allmlp("recipes", "dmo")
    assert outcome.code == 2
    assert "Did you mean 'demo'?" in outcome.err
