"""CIFAR-10 from scratch: what the sentence may say of which photos."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests.studies.workplace import SmallWorkplace
from tests.training.small_runs import write_photos

from allmlp.data import open_dataset
from allmlp.errors import DataError
from allmlp.studies.paper.cifar_record import FINAL, STUDY, stages
from allmlp.studies.study import ArmResult, StudyOptions

_CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def _results(top1: float, *, num_seeds: int, **facts: Any) -> list[ArmResult]:
    figures = {
        "validation_top1": top1,
        "test_top1": top1,
        "epochs": 72.0,
        "minutes": 60.0,
        "parameters": 663_738,
        **facts,
    }
    return [ArmResult(arm, figures) for arm in STUDY.arms(StudyOptions(num_seeds=num_seeds))]


@pytest.mark.parametrize("facts", [{}, {"class_names": _CIFAR10, "num_test": 10_000}], ids=["not stated", "stated"])
def test_the_sentence_follows_from_the_figures(facts: dict[str, Any]) -> None:
    assert STUDY.agreement(_results(0.92, num_seeds=3, **facts)).count("of 3 seeds, 92.00 %, passes 90.83 %") == 2
    assert STUDY.agreement(_results(0.9, num_seeds=1, **facts)).count("of 1 seed, 90.00 %, does not reach 90.83 %") == 2


@pytest.mark.parametrize(
    "facts", [{"class_names": ["a", "b"], "num_test": 10_000}, {"class_names": _CIFAR10, "num_test": 50}]
)
def test_other_photos_pass_nothing(facts: dict[str, Any]) -> None:
    sentence = STUDY.agreement(_results(0.99, num_seeds=1, **facts))
    assert sentence.startswith("These are not CIFAR-10's photos")
    assert "the mean of 1 seed is 99.00 %." in sentence
    assert "90.83" not in sentence


def test_photos_without_a_test_split_are_refused_before_training(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", per_class=2)
    (tmp_path / "photos" / "test").rename(tmp_path / "photos" / "validation")
    place = SmallWorkplace(tmp_path / "arm", open_dataset(str(tmp_path / "photos")))
    with pytest.raises(DataError, match="needs a test split next to the validation photos"):
        STUDY.run(STUDY.arms(StudyOptions())[0], place)
    assert not (tmp_path / "arm").exists()


def test_no_arm_claims_to_be_the_recipe_of_others() -> None:
    names = [arm.name for arm in STUDY.arms(StudyOptions())]
    assert "1.13 M: AdamW" in names
    assert not [name for name in names if "recipe" in name]


def test_every_arm_has_recipes() -> None:
    for arm in STUDY.arms(StudyOptions()):
        for recipe in stages(arm.settings, arm.seed):
            is_distorted = arm.settings["rand_augment"] and recipe.name != "clean"
            assert recipe.augmentation.rand_augment_layers == (2 if is_distorted else 0)


def test_an_arm_trains_its_stages_and_counts_their_epochs(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", per_class=10)
    arm = next(arm for arm in STUDY.arms(StudyOptions(num_steps=12)) if arm.name.endswith(FINAL))
    widths = {"hidden_dim": 16, "tokens_mlp_dim": 8, "channels_mlp_dim": 24}
    arm = dataclasses.replace(arm, settings={**arm.settings, "batch_size": 8, "widths": widths})
    place = SmallWorkplace(tmp_path / "arm", open_dataset(str(tmp_path / "photos")))
    figures = STUDY.run(arm, place)
    recipes = stages(arm.settings, arm.seed)
    assert [recipe.name for recipe in recipes] == ["coarse", "fine", "clean"]
    assert figures["photos_seen"] == 8 * sum(recipe.num_steps or 0 for recipe in recipes)
    assert figures["epochs"] == round(figures["photos_seen"] / 27, 1)  # a tenth of 30 is held out
    assert figures["num_test"] == 30
