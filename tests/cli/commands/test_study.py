"""The command `allmlp study`: options that would be ignored are refused."""

from pathlib import Path

import pytest

from allmlp.cli.commands.other_tools.study import study
from allmlp.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu"}, "--device cannot be changed when a study is resumed"),
        ({"seeds": 2}, "--seeds cannot be changed when a study is resumed"),
        ({"scale": "paper"}, "--scale paper resumes nothing"),
        ({"describe": True}, "--describe resumes nothing"),
        ({"tasks": ["a=clothing"]}, "--task cannot be changed when a study is resumed"),
    ],
)
def test_resume_takes_no_other_options(options: dict[str, object], message: str, tmp_path: Path) -> None:
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
