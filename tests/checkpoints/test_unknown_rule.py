"""The threshold of "unknown" in a description: it is kept by every file, dropped with the classes, and checked."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.builders import TINY, tiny_checkpoint, tiny_description, unknown_rule

from allmlp import CheckpointError, ModelDescription, export, load_checkpoint, open_model, save_checkpoint
from allmlp.checkpoints import FORMATS, encode_statistics

RULE = unknown_rule(TINY.hidden_dim, threshold=-1.25, num_photos=340)


def test_a_checkpoint_and_every_export_keep_it(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint().replace(unknown=RULE)
    assert load_checkpoint(save_checkpoint(checkpoint, tmp_path / "saved")).unknown == RULE
    for to, name in (("onnx", "mixer.onnx"), ("openvino", "mixer.xml")):
        path = export(checkpoint, to=to, out=tmp_path / name)
        assert open_model(path).description.unknown == RULE


def test_a_description_without_it_is_written_as_before() -> None:
    description = tiny_description()
    values = description.to_json_object()
    assert "unknown" not in values
    assert ModelDescription.from_json_object(values, where="file").unknown is None
    with_rule = dataclasses.replace(description, unknown=RULE)
    values = json.loads(json.dumps(with_rule.to_json_object()))
    statistics = values["unknown"].pop("statistics")
    assert values["unknown"] == {"score": "closeness", "threshold": -1.25, "kept": 0.95, "num_photos": 340}
    values["unknown"]["statistics"] = statistics
    assert ModelDescription.from_json_object(values, where="file") == with_rule


def test_the_statistics_of_features_are_kept_and_checked() -> None:
    matrix = np.arange(1, 19, dtype=np.float32).reshape(2, 9)
    rule = dataclasses.replace(RULE, statistics=encode_statistics(matrix))
    description = tiny_description(config=TINY)
    described = dataclasses.replace(description, unknown=rule)
    values = json.loads(json.dumps(described.to_json_object()))
    read = ModelDescription.from_json_object(values, where="file").unknown
    assert read is not None
    np.testing.assert_array_equal(read.matrix(8), matrix)
    negative = matrix.copy()
    negative[1, 8] = -1
    for statistics, words in (
        (encode_statistics(matrix[:, :5]), "the statistics of the features are invalid"),
        ("no base64!", "the statistics of the features are invalid"),
        (encode_statistics(negative), "a variance not positive"),
        ("", "the statistics of the features are missing"),
    ):
        values["unknown"]["statistics"] = statistics
        with pytest.raises(CheckpointError, match=words):
            ModelDescription.from_json_object(values, where="file")


def test_new_classes_drop_it() -> None:
    checkpoint = tiny_checkpoint().replace(unknown=RULE)
    assert checkpoint.with_new_head(checkpoint.class_names).unknown == RULE
    assert checkpoint.with_new_head(["hat", "shoe"]).unknown is None


def test_what_another_format_loses_is_said() -> None:
    lost = FORMATS["google"].lost(tiny_checkpoint().replace(unknown=RULE))
    assert any('threshold of "unknown"' in line for line in lost)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": "mood"}, "unknown.*score.*mood"),
        ({"score": "energy", "statistics": ""}, "unknown.*score.*energy.*closeness"),  # as written before 0.1
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": "low"}, "threshold"),
        ({"kept": 0}, r"kept is 0.*; expected a share over 0"),
        ({"kept": 1.5}, r"kept is 1\.5; expected a share over 0 and at most 1"),
        ({"num_photos": 0}, "num_photos is 0; expected at least 1"),
        ({"more": 1}, "more"),
    ],
)
def test_a_wrong_value_in_a_file_is_named(change: dict[str, Any], words: str) -> None:
    values = dataclasses.replace(tiny_description(), unknown=RULE).to_json_object()
    values["unknown"] = {**values["unknown"], **change}
    with pytest.raises(CheckpointError, match=f"config.json.*{words}"):
        ModelDescription.from_json_object(values, where="config.json")
