"""The description of a model: its config.json, what it refuses, and no torch."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.builders import tiny_config, tiny_description
from tests.checkpoints.refusal import refused

from allmlp import CheckpointError, ConfigError, ModelDescription, Preprocessing


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


def test_a_law_is_written_unless_it_is_ours_and_read_as_ours_if_missing() -> None:
    ours = tiny_description().to_json_object()
    assert "law" not in ours["preprocessing"]  # the same bytes as before laws existed
    assert ModelDescription.from_json_object(ours, where="config.json").preprocessing.law == "allmlp"
    timms = tiny_description().with_preprocessing({"law": "timm"})
    values = json.loads(json.dumps(timms.to_json_object()))
    assert values["preprocessing"]["law"] == "timm"
    assert ModelDescription.from_json_object(values, where="config.json") == timms
    values["preprocessing"]["law"] = "tim"
    with refused("config.json", "law", "'tim' is not one of allmlp, timm, big_vision, vit_jax", "Did you mean 'timm'?"):
        ModelDescription.from_json_object(values, where="config.json")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"law": "vit_jax"}, ("vit_jax", "squash", 1.0, "bilinear")),
        ({"law": "big_vision"}, ("big_vision", "crop", 0.875, "bilinear")),
        ({"law": "big_vision", "crop_fraction": 0.5}, ("big_vision", "crop", 0.5, "bilinear")),
        ({"law": "timm"}, ("timm", "crop", 0.75, "bicubic")),
        ({"fit": "pad"}, ("allmlp", "pad", 1.0, "bicubic")),
    ],
)
def test_a_change_of_law_brings_the_settings_of_its_evaluation(
    changes: dict[str, Any], expected: tuple[str, str, float, str]
) -> None:
    changed = tiny_description().with_preprocessing({"crop_fraction": 0.75}).with_preprocessing(changes).preprocessing
    assert (changed.law, changed.fit, changed.crop_fraction, changed.interpolation) == expected


def test_a_setting_that_the_law_does_not_have_makes_the_law_ours_unless_it_is_given() -> None:
    authors = tiny_description().with_preprocessing({"law": "big_vision"})
    changed = authors.with_preprocessing({"interpolation": "bicubic"}).preprocessing
    assert (changed.law, changed.crop_fraction) == ("allmlp", 0.875)
    assert authors.with_preprocessing({"fit": "squash"}).preprocessing.law == "big_vision"
    with pytest.raises(ConfigError, match="law='big_vision' does not have these settings: interpolation is 'bicubic'"):
        authors.with_preprocessing({"interpolation": "bicubic", "law": "big_vision"})
    with pytest.raises(ConfigError, match="preprocessing: law"):
        authors.with_preprocessing({"law": ["timm"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "b")}, "made by a test: 2 class names for a classifier of 3 classes"),
        ({"class_names": ("a", "b", "b")}, "these class names occur more than once: b"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a number from 0.001 to 1000"),
        *(
            ({"temperature": value}, f"made by a test: temperature is {value}")
            for value in (0, -1.0, float("nan"), float("inf"), "1", None, True)
        ),
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
        ({"version": "\ud800\x1b[2J"}, r"its format has version \\ud800\\x1b\[2J; this"),
        ({"surprise": 1}, "config.json.*surprise"),
        ({"class_names": ["a"]}, "config.json: made by a test: 1 class names"),
    ],
)
def test_a_wrong_json_object_is_refused_with_the_name_of_its_file(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        ModelDescription.from_json_object({**tiny_description().to_json_object(), **changes}, where="config.json")


CONFIG_CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], tuple[str, ...]]] = {
    "format": (lambda v: v.update(format="another"), ("allmlp checkpoint",)),
    "version": (lambda v: v.update(version=2), ("version 2", "Update")),
    "long version": (lambda v: v.update(version="9" * 1_000_000), ("version 9",)),
    "version true": (lambda v: v.update(version=True), ("version",)),
    "unknown keys": (lambda v: v.update(sorce="", extra=[1]), ("'sorce'. Did you mean 'source'", "'extra'")),
    "unknown keys inside": (
        lambda v: v["model"].update(num_block=3, b=1),
        ("model", "'num_block'", "num_blocks", "'b'"),
    ),
    "100,000 unknown keys": (lambda v: v.update({f"sourc{i}": i for i in range(100_000)}), ("99,950 more",)),
    "a long unknown key": (lambda v: v.update({"source" * 500_000: 1}), ("unknown key",)),
    "missing keys": (lambda v: (v.pop("source"), v.pop("model")), ("'source' is missing", "'model' is missing")),
    "wrong types": (lambda v: v["model"].update(num_blocks="2"), ("num_blocks", "whole number", "'2'")),
    "no object": (lambda v: v.update(model=[]), ("model", "object")),
    "null": (lambda v: v.update(class_names=None), ("class_names", "list")),
    "class names of another type": (lambda v: v.update(class_names=["a", 1, "c"]), ("class_names", "text")),
    "NaN": (lambda v: v["preprocessing"].update(mean=[float("nan"), 0, 0]), ("mean", "finite")),
    "infinity": (lambda v: v["model"].update(dropout=float("inf")), ("dropout", "finite")),
    "huge number": (lambda v: v["model"].update(dropout=10**400), ("dropout", "finite")),
    "huge width": (lambda v: v["model"].update(hidden_dim=10**30), ("hidden_dim", "whole number")),
    "a billion blocks": (lambda v: v["model"].update(num_blocks=10**9), ("num_blocks", "1,000")),
    "patch size": (lambda v: v["model"].update(patch_size=7), ("16 × 24", "patch_size 7", "14, 21, 28")),
    "too few class names": (lambda v: v.update(class_names=["a", "b"]), ("2 class names", "3 classes")),
    "no class names": (lambda v: v.update(class_names=[]), ("0 class names", "3 classes")),
    "class names twice": (lambda v: v.update(class_names=["a", "b", "a"]), ("more than once: a.",)),
    "image size": (lambda v: v["preprocessing"].update(image_size=[16, 16]), ("(16, 16)", "(16, 24)")),
    "temperature 0": (lambda v: v.update(temperature=0), ("temperature is 0", "0.001 to 1000")),
    "temperature below": (lambda v: v.update(temperature=-1.5), ("temperature is -1.5",)),
    "temperature NaN": (lambda v: v.update(temperature=float("nan")), ("temperature", "finite")),
    "temperature infinite": (lambda v: v.update(temperature=float("inf")), ("temperature", "finite")),
    "temperature huge": (lambda v: v.update(temperature=10**400), ("temperature", "finite")),
    "temperature tiny": (lambda v: v.update(temperature=1e-300), ("temperature is 1e-300",)),
    "temperature text": (lambda v: v.update(temperature="x"), ("temperature", "number", "'x'")),
    "temperature true": (lambda v: v.update(temperature=True), ("temperature", "number", "True")),
    "deep list": (lambda v: v.update(source=json.loads("[" * 800 + "]" * 800)), ("source",)),
}


@pytest.mark.parametrize("change", CONFIG_CHANGES)
def test_a_configuration_that_cannot_be_says_what_is_wrong_at_once(change: str) -> None:
    damage, words = CONFIG_CHANGES[change]
    values = tiny_description(image_size=(16, 24)).to_json_object()
    damage(values)
    with refused("config.json", *words):
        ModelDescription.from_json_object(values, where="config.json")


def test_many_equal_class_names_are_refused_at_once() -> None:
    names = tuple(str(index // 2) for index in range(200_000))
    config, preprocessing = tiny_config(num_classes=200_000), Preprocessing(image_size=16)
    start = time.process_time()
    with pytest.raises(CheckpointError, match=r"made by a test: .*more than once.*and 99,600 more"):
        ModelDescription(config=config, preprocessing=preprocessing, class_names=names, source="made by a test")
    assert time.process_time() - start < 0.5
