"""The threshold of "unknown": kept by every file, dropped with the classes or the pixels, and checked."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.builders import TINY, tiny_checkpoint, tiny_description, unknown_rule

from allmlp import (
    Checkpoint,
    CheckpointError,
    ModelDescription,
    Predictor,
    export,
    load_checkpoint,
    open_model,
    save_checkpoint,
)
from allmlp.checkpoints import FORMATS, UnknownRule, encode_statistics
from allmlp.cli.arguments.checkpoint import load
from allmlp.evaluation.sources import as_runnable

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


def rule_and_remarks(checkpoint: Checkpoint) -> tuple[UnknownRule | None, list[str]]:
    return checkpoint.unknown, [
        remark for remark in checkpoint.remarks if 'threshold of "unknown" was dropped' in remark
    ]


CHANGES: dict[str, Callable[[Checkpoint], Checkpoint]] = {
    "another size": lambda checkpoint: checkpoint.at_resolution(32),
    "another size of patches": lambda checkpoint: checkpoint.at_patch_size(4),
    "other colours": lambda checkpoint: checkpoint.with_preprocessing({"mean": (0, 0, 0)}),
    "another law": lambda checkpoint: checkpoint.with_preprocessing({"law": "vit_jax"}),
    "a whole pre-processing": lambda checkpoint: checkpoint.with_preprocessing(
        dataclasses.replace(checkpoint.preprocessing, fit="squash")
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_other_pixels_drop_it_with_a_remark_that_says_how_to_fit_it_again(
    change: Callable[[Checkpoint], Checkpoint],
) -> None:
    checkpoint = tiny_checkpoint().replace(unknown=RULE)
    unknown, remarks = rule_and_remarks(changed := change(checkpoint))
    assert unknown is None
    (remark,) = remarks
    assert remark.endswith("allmlp convert CHECKPOINT NEW --to allmlp --unknown-from PHOTOS")
    assert rule_and_remarks(changed.replace(unknown=RULE)) == (RULE, [])  # fitted again
    assert rule_and_remarks(change(tiny_checkpoint())) == (None, [])  # there was none


@pytest.mark.parametrize(
    "change",
    [
        lambda checkpoint: checkpoint.at_resolution(TINY.image_size),
        lambda checkpoint: checkpoint.at_patch_size(TINY.patch_size),
        lambda checkpoint: checkpoint.with_preprocessing({"mean": checkpoint.preprocessing.mean}),
        lambda checkpoint: checkpoint.with_preprocessing({}),
        lambda checkpoint: checkpoint.with_preprocessing(checkpoint.preprocessing),
    ],
)
def test_the_pixels_that_it_had_keep_it(change: Callable[[Checkpoint], Checkpoint]) -> None:
    checkpoint = tiny_checkpoint().replace(unknown=RULE)
    assert rule_and_remarks(change(checkpoint)) == (RULE, [])


def test_an_export_that_is_opened_with_another_pre_processing_has_none(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint().replace(unknown=RULE)
    path = export(checkpoint, out=tmp_path / "mixer.onnx")
    same = open_model(path, backend="onnxruntime", preprocessing={"mean": checkpoint.preprocessing.mean})
    assert (same.description.unknown, same.remark) == (RULE, "")
    opened = open_model(path, backend="onnxruntime", preprocessing={"mean": (0, 0, 0)})
    assert opened.description.unknown is None
    assert opened.remark.startswith('The threshold of "unknown" was dropped: it was fitted on photos with another pre-')
    assert not Predictor(opened).has_unknown


def test_an_evaluation_with_another_pre_processing_reports_it(tmp_path: Path) -> None:
    path = export(tiny_checkpoint().replace(unknown=RULE), out=tmp_path / "mixer.onnx")
    for model in (path, open_model(path)):
        lines: list[str] = []
        as_runnable(
            model,
            image_size=None,
            preprocessing={"mean": (0, 0, 0)},
            device="cpu",
            output="logits",
            report=lines.append,
        )
        assert [line.partition(":")[0] for line in lines] == ['The threshold of "unknown" was dropped']


def test_a_command_at_another_size_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_checkpoint(tiny_checkpoint().replace(unknown=RULE), tmp_path / "saved")
    assert load(str(path), "16").unknown == RULE
    assert "unknown" not in capsys.readouterr().err
    assert load(str(path), "32").unknown is None
    assert 'The threshold of "unknown" was dropped: it was fitted on images of another size' in capsys.readouterr().err
    assert load(str(path), None, {"law": "timm"}).unknown is None
    assert 'The threshold of "unknown" was dropped: it was fitted on photos with another' in capsys.readouterr().err
