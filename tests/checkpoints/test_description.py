"""The description of a model: its config.json, what it refuses, and no torch."""

import subprocess
import sys
from typing import Any

import pytest
from tests.builders import tiny_description

from allmlp import CheckpointError, ModelDescription


def test_it_imports_no_torch() -> None:
    code = "import sys; import allmlp.checkpoints.description; print('torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert process.stdout == "False\n"


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_its_json_object_gives_it_back(temperature: float) -> None:
    description = tiny_description(temperature=temperature)
    values = description.to_json_object()
    assert ("temperature" in values) == (temperature != 1.0)
    assert ModelDescription.from_json_object(values, where="config.json") == description


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "b")}, "made by a test: 2 class names for a classifier of 3 classes"),
        ({"class_names": ("a", "b", "b")}, "these class names occur more than once: b"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a number from 0.001 to 1000"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        tiny_description(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": "other"},
            'config.json: not a configuration written by allmlp .it lacks "format": "allmlp checkpoint"',
        ),
        ({"version": 2}, "config.json: its format has version 2; this allmlp reads version 1"),
        ({"surprise": 1}, "config.json.*surprise"),
        ({"class_names": ["a"]}, "config.json: made by a test: 1 class names"),
    ],
)
def test_a_wrong_json_object_is_refused_with_the_name_of_its_file(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        ModelDescription.from_json_object({**tiny_description().to_json_object(), **changes}, where="config.json")
