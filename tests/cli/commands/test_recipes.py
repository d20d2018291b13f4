import json
import shlex

import pytest

from allmlp.config import override, to_dict
from allmlp.recipes import DEVIATIONS, RECIPES, deviations_of
from allmlp.recipes.deviations import FEW_SHOT


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


def test_every_difference_to_the_authors_is_shown_with_its_reason(allmlp):
    shown = allmlp("recipes", "finetune_cifar", "--against", "authors")
    assert shown.code == 0
    lines = [line.strip() for line in shown.out.splitlines()]
    for deviation in deviations_of("finetune_cifar"):
        assert deviation.setting in lines
        for value in (deviation.ours, deviation.authors, deviation.why, deviation.source):
            assert any(line.endswith(value) for line in lines)
    assert "mixup" not in shown.out  # a difference of other recipes


def test_formats_for_programs(allmlp):
    differences = json.loads(allmlp("recipes", "imagenet_b16", "--against", "authors", "--format", "json").out)
    assert [each["setting"] for each in differences] == [each.setting for each in deviations_of("imagenet_b16")]
    assert {*differences[0]} == {"setting", "ours", "authors", "why", "source"}
    assert [each["name"] for each in json.loads(allmlp("recipes", "--json").out)] == list(RECIPES)
    facts = json.loads(allmlp("recipes", "demo", "--json").out)
    assert facts["settings"] == json.loads(json.dumps(to_dict(RECIPES["demo"]())))


def test_all_differences_are_shown_with_what_they_apply_to(allmlp):
    shown = allmlp("recipes", "--against", "authors")
    assert shown.code == 0
    lines = [line.strip() for line in shown.out.splitlines()]
    for deviation in DEVIATIONS:
        assert deviation.setting in lines
        assert any(line.split(maxsplit=1) == ["in", ", ".join(deviation.applies_to)] for line in lines)
    assert "pre-processing of few-shot photos" in lines and FEW_SHOT in shown.out  # of no recipe
    differences = json.loads(allmlp("recipes", "--against", "authors", "--json").out)
    assert [each["applies_to"] for each in differences] == [[*each.applies_to] for each in DEVIATIONS]


def test_a_recipe_of_ours_has_nothing_to_compare_with(allmlp):
    outcome = allmlp("recipes", "demo", "--against", "authors")
    assert outcome.code == 2
    assert "demo: this recipe is ours" in outcome.err
