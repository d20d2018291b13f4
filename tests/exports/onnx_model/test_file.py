"""Damaged, foreign and hostile ONNX files: each is one clear line, and no engine sees the file."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.builders import tiny_checkpoint

from allmlp import AllmlpError, CheckpointError, open_model
from allmlp.checkpoints import as_arrays
from allmlp.exports import ChangedExportError, export_kind, onnx_bytes
from allmlp.exports.onnx_model.protobuf import read_fields

CONTENT = onnx_bytes(as_arrays(tiny_checkpoint()))


class Reached(BaseException):
    """A file got as far as an engine."""


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a file gets as far as an engine."""

    def refuse(*arguments: object, **options: object) -> None:
        raise Reached

    monkeypatch.setattr("allmlp.inference.backends.onnx_runtime._session", refuse)
    monkeypatch.setattr("allmlp.inference.backends.openvino_runtime._compile", refuse)


def refusal(path: Path) -> str:
    """Return the message of both backends, one line each, the same."""
    messages = set()
    for backend in ("auto", "onnxruntime", "openvino"):
        with pytest.raises(CheckpointError) as caught:
            open_model(path, backend=backend)
        messages.add(str(caught.value))
    (message,) = messages
    assert len(message.splitlines()) == 1
    assert len(message) < 700
    assert path.name in message
    return message


def changed(tmp_path: Path, change: Callable[[onnx.ModelProto], object], *, keep_digest: bool = False) -> Path:
    """Write the export with a change to its message, and without the digest, which would notice every change."""
    proto = onnx.load_from_string(CONTENT)
    change(proto)
    if not keep_digest:
        kept = [entry for entry in proto.metadata_props if entry.key != "allmlp_sha256"]
        del proto.metadata_props[:]
        proto.metadata_props.extend(kept)
    path = tmp_path / "changed.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def set_json(change: Callable[[dict], object]) -> Callable[[onnx.ModelProto], None]:
    def edit(proto: onnx.ModelProto) -> None:
        (entry,) = (entry for entry in proto.metadata_props if entry.key == "allmlp")
        values = json.loads(entry.value)
        change(values)
        entry.value = json.dumps(values)

    return edit


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert "no such file; expected an ONNX file that allmlp export wrote" in refusal(tmp_path / "x.onnx")
    (tmp_path / "folder.onnx").mkdir()
    assert "not a checkpoint folder" in refusal(tmp_path / "folder.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "not a regular file" in refusal(tmp_path / "pipe.onnx")


@pytest.mark.parametrize("name", ["\0.onnx", "x" * 10_000 + ".onnx"])
def test_a_name_that_no_file_can_have_is_a_checkpoint_error(name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_model(name)
    assert len(str(caught.value)) < 700


def test_a_file_cut_short_anywhere_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    generator = random.Random(0)
    for length in (0, 1, 7, len(CONTENT) - 1, *generator.sample(range(len(CONTENT)), 20)):
        path.write_bytes(CONTENT[:length])
        refusal(path)


def test_a_flipped_bit_anywhere_in_the_graph_or_the_description_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "flipped.onnx"
    fields = {field.number: field for field in read_fields(memoryview(CONTENT))}
    start = CONTENT.index(bytes(fields[7].content[:100]))
    positions = random.Random(1).sample(range(start, start + len(fields[7].content)), 40)
    own = CONTENT.index(b'{"format":"allmlp export"')
    positions += random.Random(2).sample(range(own, own + 300), 20)
    for position in positions:
        content = bytearray(CONTENT)
        content[position] ^= 1 << (position % 8)
        path.write_bytes(content)
        refusal(path)


def test_random_bytes_are_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "random.onnx"
    generator = random.Random(3)
    for _ in range(200):
        content = bytearray(CONTENT)
        for _ in range(generator.randrange(1, 30)):
            content[generator.randrange(len(content))] = generator.randrange(256)
        path.write_bytes(content)
        with pytest.raises((AllmlpError, Reached)):  # a change of only who wrote it is harmless
            open_model(path)


def test_a_foreign_model_is_told_what_is_missing_and_how_to_make_one(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    path = tmp_path / "resnet.onnx"
    onnx.save(helper.make_model(graph), path)
    message = refusal(path)
    assert 'without the description that allmlp writes (the metadata key "allmlp")' in message
    assert message.endswith("allmlp export CHECKPOINT --to onnx")


def test_an_export_is_recognised_by_its_content_too(tmp_path: Path) -> None:
    path = tmp_path / "model.bak"
    path.write_bytes(CONTENT)
    assert export_kind(path) == "onnx"
    assert export_kind(tmp_path) is export_kind("starter") is export_kind(3) is export_kind("hf:a/b") is None


def external(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def external_attribute(proto: onnx.ModelProto) -> None:
    tensor = TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    proto.graph.node[0].attribute.append(helper.make_attribute("value", tensor))


def huge_shape(proto: onnx.ModelProto) -> None:
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend([1 << 40, 1 << 22])


def negative_shape(proto: onnx.ModelProto) -> None:
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend([-1, -(2**63)])


def loop(proto: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    proto.graph.node.append(helper.make_node("Loop", ["a"], ["b"], body=body))


def subgraph(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute.append(helper.make_attribute("body", helper.make_graph([], "body", [], [])))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external, "its weights are in another file, which is not opened"),
        (external_attribute, "an operator with a tensor or a graph inside"),
        (subgraph, "an operator with a tensor or a graph inside"),
        (huge_shape, "do not fit its shape"),
        (negative_shape, "do not fit its shape"),
        (loop, "the operator 'Loop'"),
        (lambda proto: setattr(proto.graph.node[0], "op_type", "Expand"), "the operator 'Expand'"),
        (lambda proto: setattr(proto.graph.node[0], "domain", "com.microsoft"), "an operator of 'com.microsoft'"),
        (lambda proto: proto.opset_import.add(domain="evil", version=1), "operators from outside ONNX"),
        (lambda proto: proto.functions.add(name="f", domain="d"), "such as functions"),
        (lambda proto: proto.graph.initializer.pop(0), "its weights do not fit the Mixer that it describes"),
        (lambda proto: proto.graph.output.pop(0), "it lacks the outputs logits"),
        (lambda proto: proto.graph.input.add(name="more"), "its inputs are images, more"),
        (
            lambda proto: proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(9999, "f"), "big\x1b[0m")),
            "the unknown weights",
        ),
        (set_json(lambda values: values.update(format="other")), 'lacks "format": "allmlp export"'),
        (set_json(lambda values: values.update(version=99)), "has version '99'; this allmlp reads version 1. Update"),
        (set_json(lambda values: values.update(precision="int4")), "its precision is 'int4'"),
        (set_json(lambda values: values.pop("checkpoint")), '"checkpoint" is missing'),
        (set_json(lambda values: values.pop("weights_sha256")), "weights_sha256"),
        (set_json(lambda values: values["checkpoint"].update(class_names=["a"])), "1 class names for a classifier of 3"),
        (set_json(lambda values: values["checkpoint"]["model"].update(hidden_dim=1 << 19)), "do not fit the Mixer"),
        (set_json(lambda values: values["checkpoint"]["model"].update(hidden_dim=1 << 60)), "hidden_dim is"),
        (
            set_json(lambda values: [part.update(image_size=[65536] * 2) for part in values["checkpoint"].values()
                                     if isinstance(part, dict)]),
            "do not fit the Mixer",
        ),
    ],
)  # fmt: skip
def test_what_allmlp_does_not_write_is_not_run(change: Callable, words: str, tmp_path: Path) -> None:
    message = refusal(changed(tmp_path, change))
    assert words in message
    assert "\x1b" not in message


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, "\udcff", '{"format": NaN}', "x" * (5 << 20)])
def test_a_description_that_is_not_json_is_an_error(text: str, tmp_path: Path) -> None:
    proto = onnx.load_from_string(CONTENT)
    (entry,) = (entry for entry in proto.metadata_props if entry.key == "allmlp")
    entry.value = text.encode("utf-8", "replace").decode()
    path = tmp_path / "text.onnx"
    path.write_bytes(proto.SerializeToString())
    refusal(path)


def test_a_file_that_was_edited_says_so_and_how_to_use_it_all_the_same(tmp_path: Path) -> None:
    edit = set_json(lambda values: values["checkpoint"]["preprocessing"].update(mean=[0, 0, 0]))
    with pytest.raises(ChangedExportError, match=r"changed since it was written \(its allmlp_sha256 differs\)"):
        open_model(changed(tmp_path, edit, keep_digest=True))
    with pytest.raises(Reached):  # without the digest, the file is taken as it is
        open_model(changed(tmp_path, edit))


def other_width(proto: onnx.ModelProto) -> None:
    (head,) = (node for node in proto.graph.node if node.name == "head")
    head.op_type = "Transpose"  # of the features, which needs no other input
    del head.input[1:]
    del head.attribute[:]


def wrong_inputs(proto: onnx.ModelProto) -> None:
    (node,) = (node for node in proto.graph.node if node.name == "blocks.0.token_mixing.fc2")
    node.input[1] = "blocks.0.channel_mixing.fc1.weight"


def unknown_input(proto: onnx.ModelProto) -> None:
    proto.graph.node[4].input[0] = "nothing"


@pytest.mark.parametrize("change", [other_width, wrong_inputs, unknown_input])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_what_an_engine_refuses_or_answers_in_another_shape_is_one_line(
    change: Callable, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All operators are ours, so that the file gets to the engine."""
    monkeypatch.undo()
    path = changed(tmp_path, change)
    with pytest.raises(CheckpointError, match=r"changed.onnx: (ONNX Runtime|OpenVINO) cannot run it") as caught:
        open_model(path, backend=backend).forward(np.zeros((1, 3, 16, 16), np.float32))
    assert len(str(caught.value).splitlines()) == 1


def set_entry(key: str, value: str | None) -> Callable[[onnx.ModelProto], None]:
    """Change, add or remove (None) a metadata entry."""

    def edit(proto: onnx.ModelProto) -> None:
        kept = [entry for entry in proto.metadata_props if entry.key != key]
        del proto.metadata_props[:]
        proto.metadata_props.extend(kept)
        if value is not None:
            proto.metadata_props.add(key=key, value=value)

    return edit


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_info mean_values", "0 0 0"),
        ("model_info resize_type", "standard"),
        ("model_info labels", "class_1 class_0 class_2"),
        ("model_info labels", None),
        ("model_info embedded_processing", "True"),
    ],
)
def test_what_other_programs_read_cannot_be_changed(key: str, value: str | None, tmp_path: Path) -> None:
    """Fault: the digest covers the graph and our own JSON, not the keys of OpenVINO's Model API."""
    path = changed(tmp_path, set_entry(key, value), keep_digest=True)
    with pytest.raises(ChangedExportError, match=f"changed since it was written .model_info {key.split()[1]} differ"):
        open_model(path)


@pytest.mark.parametrize("key", ["allmlp", "allmlp_sha256", "model_info labels", "note"])
def test_a_metadata_key_cannot_occur_twice(key: str, tmp_path: Path) -> None:
    """Fault: the last of two was checked, and another program may read the first."""

    def edit(proto: onnx.ModelProto) -> None:
        value = next((entry.value for entry in proto.metadata_props if entry.key == key), "x")
        for _ in range(1 + (key == "note")):
            proto.metadata_props.add(key=key, value=value)

    with pytest.raises(ChangedExportError, match=f"the metadata key '{key}' occurs twice"):
        open_model(changed(tmp_path, edit, keep_digest=True))
