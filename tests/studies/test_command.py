"""The command of a study for others, and which options change anything."""

import pytest

from allmlp.studies import StudyOptions, load_study
from allmlp.studies.command import changed_options, command_of, has_other_steps, without_paths


@pytest.mark.parametrize(
    ("data", "name", "public"),
    [
        ("cifar10", None, "cifar10"),
        ("cifar10:/home/me/data", None, "cifar10"),
        ("cifar10:/home/me/a,b", None, "cifar10"),
        ("cifar10:/home/me/data,pets", None, "cifar10,pets"),
        ("/home/me/photos", None, "PHOTOS"),
        ("/home/me/photos", "cifar100", "cifar100"),  # recognised
        ("/home/me/cifar10,mine", None, "PHOTOS"),
    ],
)
def test_photos_are_named_without_their_folder(data: str, name: str | None, public: str) -> None:
    options = without_paths(StudyOptions(data=data), data_name=name)
    assert command_of(load_study("permutations"), options) == f"allmlp study permutations --data {public}"


def test_options_that_differ_from_the_first_ones_are_named() -> None:
    first = StudyOptions(data="/photos", num_seeds=2, tasks={"a": "/a"})
    assert changed_options(StudyOptions(), first) == []
    assert changed_options(first, first) == []
    assert changed_options(StudyOptions(data="/other", num_seeds=2, tasks={"a": "/b"}), first) == ["--data", "--task"]


def test_a_relative_path_is_the_stored_one_also_if_its_photos_are_gone(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = StudyOptions(data=str(tmp_path / "photos"), tasks={"a": str(tmp_path / "a")})
    assert changed_options(StudyOptions(data="photos", tasks={"a": "a"}), first) == []
    assert changed_options(StudyOptions(data="other", tasks={"a": "a", "b": "b"}), first) == ["--data", "--task"]


@pytest.mark.parametrize(
    ("study", "num_steps", "is_other"),
    [
        ("permutations", 1000, False),
        ("permutations", 999, True),
        ("table1", 100, False),  # it has at most nine rounds
        ("table1", 2, True),
        ("permutations", None, False),
    ],
)
def test_steps_are_other_ones_only_if_an_arm_changes(study: str, num_steps: int | None, is_other: bool) -> None:
    assert has_other_steps(load_study(study), StudyOptions(num_steps=num_steps)) is is_other
