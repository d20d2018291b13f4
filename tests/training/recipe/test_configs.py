"""Groups of settings: values that are refused, values that are accepted, and another learning rate for a recipe."""

import dataclasses
import math

import pytest
from tests.builders import tiny_config

from allmlp.config import to_dict
from allmlp.data import Augmentation
from allmlp.errors import ConfigError
from allmlp.recipes import load_recipe
from allmlp.training import OptimizerConfig, Recipe, ScheduleConfig
from allmlp.training.recipe.resolve import resolved_from_dict, with_learning_rate
from allmlp.training.recipe.result_settings import check_settings, result_settings

BAD_NAMES = ("", "../x", "a/b", "a\\b", ".", "a\nb")
TINY = tiny_config(image_size=(8, 8), patch_size=4, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7)


def tiny_recipe(**settings):
    return Recipe(name="tiny", model=TINY, num_epochs=1, batch_size=4, **settings)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_another_learning_rate_scales_all_that_a_recipe_has(name):
    second = 0.002 if name == "muon" else None
    optimizer = OptimizerConfig(name=name, learning_rate=0.02, adamw_learning_rate=second)
    changed = with_learning_rate(tiny_recipe(optimizer=optimizer), 0.05).optimizer
    assert changed.learning_rate == 0.05
    assert changed.adamw_learning_rate == (pytest.approx(0.005) if name == "muon" else None)
    same = {"learning_rate": 0.02, "adamw_learning_rate": second}
    assert dataclasses.replace(changed, **same) == optimizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimizerConfig(learning_rate=-1.0), "learning_rate is -1.0"),
        (lambda: tiny_recipe(head_bias=1e40), r"head_bias is 1e\+40; expected -10000 to 10000"),
        (lambda: tiny_recipe(head_bias=math.nan), "head_bias is nan; expected"),
        *(
            (lambda name=name: dataclasses.replace(tiny_recipe(), name=name), "name is .*without a slash")
            for name in BAD_NAMES
        ),
        (
            lambda: OptimizerConfig(name="muon", adamw_learning_rate=-1.0),
            "adamw_learning_rate is -1.0; expected a value over 0",
        ),
        (
            lambda: OptimizerConfig(name="muon", adamw_learning_rate=1e30),
            "adamw_learning_rate is 1e\\+30; expected a value over",
        ),
        (lambda: OptimizerConfig(weight_decay=-0.1), "weight_decay is -0.1, momentum 0.9"),
        (lambda: OptimizerConfig(name="muon"), "adamw_learning_rate.*muon needs it; set it"),
        (lambda: OptimizerConfig(adamw_learning_rate=0.1), "optimizer.name is adamw: only muon has it"),
        (
            lambda: OptimizerConfig(momentum=0.95),
            "momentum is 0.95, but optimizer.name=adamw does not use it.* at 0.9.",
        ),
        (
            lambda: OptimizerConfig(name="sgd", betas=(0.9, 0.99)),
            r"betas is \(0.9, 0.99\), but optimizer.name=sgd does not use it; only adamw and muon do",
        ),
        (lambda: ScheduleConfig(warmup=1.5), "warmup is 1.5, final_fraction 0.0; expected"),
        (lambda: ScheduleConfig(warmup_steps=-1), "warmup_steps is -1; expected 0 or more"),
        (lambda: ScheduleConfig(warmup=0.1, warmup_steps=5), "warmup is 0.1, but schedule.warmup_steps=5 overrides it"),
        (
            lambda: Augmentation(crop="pad", min_crop_area=0.5),
            "min_crop_area is 0.5, which has no effect without crop=inception",
        ),
        (
            lambda: Augmentation(crop="pad", crop_law="tensorflow"),
            "augmentation.crop_law is tensorflow, which has no effect without crop=inception",
        ),
        (
            lambda: Augmentation(crop="inception", pad_pixels=6),
            "pad_pixels is 6, which has no effect without crop=pad. Leave it at 4",
        ),
        (lambda: Augmentation(pad_pixels=0), "pad_pixels is 0, which has no effect"),
        (
            lambda: Augmentation(mix_probability=0.5),
            "mix_probability is 0.5, which has no effect without mixup or cutmix above 0",
        ),
    ],
)
def test_impossible_values_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: OptimizerConfig(name="sgd", momentum=0.0),
        lambda: OptimizerConfig(name="adamw", betas=(0.9, 0.99)),
        lambda: OptimizerConfig(name="muon", adamw_learning_rate=0.1, momentum=0.95, betas=(0.9, 0.99)),
        lambda: Augmentation(crop="inception", min_crop_area=0.5),
        lambda: Augmentation(crop="pad", pad_pixels=0),
        lambda: Augmentation(cutmix=1.0, mix_probability=0.5),
    ],
)
def test_values_that_take_effect_are_taken(make):
    make()


@pytest.mark.parametrize("name", ["demo", "imagenet_b16"])
def test_a_run_from_before_laws_goes_on_with_those_of_its_time(name, tmp_path):
    values = to_dict(dataclasses.replace(load_recipe(name), precision="float32"))
    values["model"]["num_classes"] = 3
    del values["data"]["law"], values["augmentation"]["crop_law"]
    stored = resolved_from_dict(values, where="recipe.json")
    assert (stored.data.law, stored.augmentation.crop_law) == ("allmlp", "torchvision")
    saved = result_settings(stored)
    del saved["data.law"], saved["augmentation.crop_law"]
    check_settings(stored, saved, where=tmp_path)


def test_a_law_and_its_settings_are_checked_in_a_recipe():
    data = dataclasses.replace(load_recipe("demo").data, law="big_vision")
    with pytest.raises(ConfigError, match="law='big_vision' does not have these settings: interpolation is 'bicubic'"):
        tiny_recipe(data=data)
