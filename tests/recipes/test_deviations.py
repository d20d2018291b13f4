"""The list of differences to the authors' settings: complete for keys, and true of the recipes."""

import pytest

from allmlp.config import to_dict
from allmlp.errors import ConfigError
from allmlp.recipes import DEVIATIONS, RECIPES, deviations_of
from allmlp.recipes.deviations import FEW_SHOT

AUTHORS = {name for name, recipe in RECIPES.items() if "Source: ours" not in recipe.__doc__}


def value_of(name: str, key: str) -> object:
    values = to_dict(RECIPES[name]())
    for part in key.split("."):
        values = values[part]
    return values


def test_each_is_about_recipes_that_exist() -> None:
    assert {name for deviation in DEVIATIONS for name in deviation.applies_to} == AUTHORS | {FEW_SHOT}


def test_each_recipe_has_one_line_per_setting() -> None:
    for name in AUTHORS:
        settings = [deviation.setting for deviation in deviations_of(name)]
        assert len(settings) == len({*settings})


def test_settings_are_keys_with_the_recipes_own_values() -> None:
    num_keys = 0
    for deviation in DEVIATIONS:
        if deviation.setting.count(" "):  # in words
            continue
        for name in deviation.applies_to:
            if deviation.setting in ("momentum", "warm-up"):
                continue
            value = value_of(name, deviation.setting)
            assert deviation.ours.split(",")[0].split(":")[0].split(" ")[0] == str(value), (name, deviation.setting)
            num_keys += 1
    assert num_keys > 20


def test_the_paper_itself_is_not_a_deviation() -> None:
    """Crop, law of pre-processing and filter are the authors' since they can be chosen."""
    keys = {deviation.setting for deviation in DEVIATIONS}
    assert not keys & {"augmentation.crop_law", "data.law", "data.interpolation", "augmentation.min_crop_area"}
    for name in AUTHORS:
        assert value_of(name, "data.law") in ("big_vision", "vit_jax")


def test_a_recipe_of_ours_has_nothing_to_compare_with() -> None:
    with pytest.raises(ConfigError, match="demo: this recipe is ours"):
        deviations_of("demo")


@pytest.mark.parametrize("name", ["finetune_paper", "finetune_paper_squash"])
def test_the_papers_fine_tuning_holds_out_photos_that_the_authors_train_on(name: str) -> None:
    assert "data.holdout" in [deviation.setting for deviation in deviations_of(name)]
