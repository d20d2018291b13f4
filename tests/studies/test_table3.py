"""The paper's trainings: table 3, copied by hand, against the recipes and what they say about their cost."""

import re

import pytest

from allmlp.errors import ConfigError
from allmlp.recipes import RECIPES, load_recipe
from allmlp.studies import STUDIES, load_study
from allmlp.studies.table3 import TABLE_3, paper_training, row_of

# Table 3 at 224 pixels, the last column: thousands of core-days.
COSTS = {
    ("B/16", "ImageNet"): 0.01,
    ("L/16", "ImageNet"): 0.04,
    ("B/16", "ImageNet-21k"): 0.15,
    ("L/16", "ImageNet-21k"): 0.41,
    ("S/32", "JFT-300M"): 0.01,
    ("S/16", "JFT-300M"): 0.03,
    ("B/32", "JFT-300M"): 0.05,
    ("B/16", "JFT-300M"): 0.08,
    ("L/32", "JFT-300M"): 0.12,
    ("L/16", "JFT-300M"): 0.45,
    ("H/14", "JFT-300M"): 1.01,
}
TABLE_4 = {
    "imagenet_b16": ("B/16", "ImageNet"),
    "imagenet_l16": ("L/16", "ImageNet"),
    "imagenet21k_b16": ("B/16", "ImageNet-21k"),
    "imagenet21k_l16": ("L/16", "ImageNet-21k"),
    "jft_s16": ("S/16", "JFT-300M"),
    "jft_b16": ("B/16", "JFT-300M"),
    "jft_l16": ("L/16", "JFT-300M"),
    "jft_h14": ("H/14", "JFT-300M"),
}
PHOTOS = {"ImageNet": 1.28e6, "ImageNet-21k": 14e6, "JFT-300M": 300e6}
THOUSANDS = re.compile(
    r"(?:(?P<variant>[SBLH]/\d\d): )?(?P<value>\d\.\d\d)(?: thousand TPU-v3 core-days| \(paper, table 3\))"
)


def test_costs_are_those_of_the_paper() -> None:
    assert {(row.variant, row.data): row.cost for row in TABLE_3} == COSTS


@pytest.mark.parametrize("name", TABLE_4)
def test_a_training_is_the_recipe_s(name: str) -> None:
    variant, data = TABLE_4[name]
    training = paper_training(name)
    photos = "imagenet" if data == "ImageNet" else "PHOTOS"
    assert training.command == f"allmlp train {photos} --recipe {name}"
    assert f"`{training.command}`" in (RECIPES[name].__doc__ or "")
    assert training.variant == variant
    assert training.num_photos_seen == load_recipe(name).num_epochs * PHOTOS[data]
    assert training.core_days == pytest.approx(1000 * COSTS[variant, data])


@pytest.mark.parametrize("name", TABLE_4)
def test_what_a_recipe_says_about_its_cost_and_result_is_in_the_table(name: str) -> None:
    """Its docstring, such as "Cost: 0.08 thousand TPU-v3 core-days; B/32: 0.05 (paper, table 3): 80 and 50 core-days"."""
    own, data = TABLE_4[name]
    words = " ".join((RECIPES[name].__doc__ or "").split())
    cost = words[words.index("Cost: ") : words.index("Source: ")]
    said = {match["variant"] or own: float(match["value"]) for match in THOUSANDS.finditer(cost)}
    assert said and said == {variant: row_of(variant, data).cost for variant in said}
    days = cost[cost.index("(paper, table 3): ") :].replace(",", "")
    numbers = [float(value) for value in re.findall(r"\b\d+\b", days)]
    assert numbers == pytest.approx([3, *(1000 * said[variant] for variant in said)])
    expected = words[words.index("Expected: ") : words.index("Cost: ")]
    assert f"{row_of(own, data).imagenet:.2f} % top-1" in expected


@pytest.mark.parametrize(
    ("name", "variant", "epochs", "options"),
    [
        ("jft_s16", "S/32", 5, "--set model.patch_size=32"),
        ("jft_b16", "B/32", 7, "--set model.patch_size=32"),
        ("jft_l16", "L/32", 7, "--set model.patch_size=32 --epochs 7"),
    ],
)
def test_another_patch_size_is_an_option(name: str, variant: str, epochs: int, options: str) -> None:
    training = paper_training(name, variant)
    assert training.command == f"allmlp train PHOTOS --recipe {name} {options}"
    assert f"`{options}`" in (RECIPES[name].__doc__ or "")
    assert (training.variant, training.num_photos_seen) == (variant, epochs * 300e6)
    assert training.core_days == pytest.approx(1000 * COSTS[variant, "JFT-300M"])


def test_other_recipes_and_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="recipe cifar10 is not one of table 4"):
        paper_training("cifar10")
    with pytest.raises(ConfigError, match="big_vision_b16 is not one of table 4"):
        paper_training("big_vision_b16")
    with pytest.raises(ConfigError, match="table 3 has no Mixer-H/14 that was pre-trained on ImageNet"):
        paper_training("imagenet_b16", "H/14")


@pytest.mark.parametrize("name", STUDIES)
def test_the_trainings_of_a_study_are_those_of_the_recipes(name: str) -> None:
    """Typed by hand or derived: the cost and the photos of each pre-training by a recipe of table 4."""
    for training in load_study(name).full_scale:
        words = training.command.split()
        recipe = next((words[index + 1] for index, word in enumerate(words) if word == "--recipe"), "")
        if recipe not in TABLE_4 or training.core_days is None:
            continue
        derived = paper_training(recipe, training.variant)
        share = training.num_photos_seen / derived.num_photos_seen
        if "--epochs" not in words:
            assert share == pytest.approx(1.0, rel=0.05), training.command
        # Table 3 has 450 core-days for 14 epochs of L/16; 7 take half of them.
        assert training.core_days == pytest.approx(share * derived.core_days), training.command
