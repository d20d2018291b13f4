"""CIFAR-10 from scratch: what the sentence may say of which photos."""

from pathlib import Path
from typing import Any

import pytest
from tests.same_bits import write_photos
from tests.studies.workplace import SmallWorkplace

from allmlp.data import open_dataset
from allmlp.errors import DataError
from allmlp.studies.paper.cifar_record import STUDY
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
    with pytest.raises(DataError, match="needs a test split beside the validation photos"):
        STUDY.run(STUDY.arms(StudyOptions())[0], place)
    assert not (tmp_path / "arm").exists()
