"""The command `allmlp study`: options that would be ignored are refused."""

import json
from pathlib import Path

import pytest

from allmlp.cli.commands.other_tools.study import study
from allmlp.errors import CheckpointError, ConfigError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu"}, "--device cannot be changed when a study is resumed"),
        ({"seeds": 2}, "--seeds cannot be changed when a study is resumed"),
        ({"scale": "paper"}, "--scale paper resumes nothing"),
        ({"describe": True}, "--describe resumes nothing"),
        ({"tasks": ["a=clothing"]}, "--task cannot be changed when a study is resumed"),
        ({"seeds": 3, "steps": 3}, "--steps cannot be changed when a study is resumed"),
        ({"out": Path("new")}, "--out changes nothing with --resume"),
    ],
)
def test_resume_takes_no_other_options(options: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"study": "permutations", "options": {"num_seeds": 3}}))
    with pytest.raises(ConfigError, match=message):
        study("permutations", resume=tmp_path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (None, {"data": "photos"}, "--data needs the name of a study"),
        (None, {"scale": "paper"}, "--scale paper needs the name of a study"),
        ("weights", {"describe": True, "scale": "paper"}, "--scale paper changes nothing with --describe"),
        ("weights", {"describe": True, "steps": 3}, "--steps changes nothing with --describe"),
        ("weights", {"scale": "paper", "out": Path("new")}, "--out changes nothing with --scale paper"),
        ("transfer", {"tasks": ["flowers"]}, r"--task is 'flowers'; expected NAME=PHOTOS"),
        ("transfer", {"tasks": ["=photos"]}, r"--task is '=photos'; expected NAME=PHOTOS"),
        ("transfer", {"tasks": ["a=1", "a=2"]}, "--task names a twice"),
        ("weights", {"tasks": ["a=1"], "out": Path("new")}, "study weights takes no tasks by name; omit --task"),
    ],
)
def test_options_without_effect_are_refused(name: str | None, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        study(name, **options)  # type: ignore[arg-type]


def test_resume_begins_a_study_in_a_new_folder_and_goes_on_with_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        study("weights", resume=tmp_path / "new", seeds=1)
        assert "untrained Mixers, one checkpoint" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"holds no study .* name it: allmlp study NAME --resume FOLDER"):
        study(resume=tmp_path / "other")


def test_times_are_labelled_as_estimates(capsys: pytest.CaptureFixture[str]) -> None:
    study()
    shown = capsys.readouterr().out
    assert "about 46 min" in shown and "Times are estimates for two cores" in shown
    study("cifar_record", describe=True)
    assert "time    about 33 h on two cores: an estimate, by multiply-adds" in capsys.readouterr().out


def test_the_description_of_transfer_says_how_flowers_are_added(capsys: pytest.CaptureFixture[str]) -> None:
    study("transfer", describe=True)
    shown = " ".join(capsys.readouterr().out.split())
    assert "allmlp data flowers102 --download" in shown
    assert "--task clothing=clothing --task flowers=flowers102" in shown
