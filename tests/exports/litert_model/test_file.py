"""Damaged, foreign and hostile .tflite files: each is one clear line, and LiteRT does not see the file."""

import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.builders import tiny_checkpoint
from tests.exports.onnx_model.test_file import Reached

from allmlp import AllmlpError, CheckpointError, open_model
from allmlp.checkpoints import as_arrays
from allmlp.exports import ChangedExportError, export_kind, litert_bytes, open_export
from allmlp.exports.litert_model.graph import mixer_graph

pytest.importorskip("ai_edge_litert.schema_py_generated")

CHECKPOINT = tiny_checkpoint()
CONTENT = litert_bytes(as_arrays(CHECKPOINT))
GRAPH = mixer_graph(CHECKPOINT.config, as_arrays(CHECKPOINT).weights)


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise Reached

    monkeypatch.setattr("allmlp.inference.backends.litert_runtime.LitertInterpreter", refuse)


def written(path: Path, graph: bytes, change: Callable[[dict], object], *, keep_digest: bool = False) -> Path:
    """Write a graph with a change to its description, and without the digest, which would notice every change."""
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    values = json.loads(members["allmlp.json"])
    change(values)
    members["allmlp.json"] = json.dumps(values, separators=(",", ":")).encode()
    if not keep_digest:
        del members["allmlp_sha256"]
    buffer = io.BytesIO()
    buffer.write(graph)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    path.write_bytes(buffer.getvalue())
    return path


def unchanged(values: dict) -> None:
    pass


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_model(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and len(message) < 700 and path.name in message
    return message


def test_the_file_itself_reaches_the_engine(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tflite", GRAPH.content, unchanged, keep_digest=True)
    assert export_kind(path) == "litert" and open_export(path).description == CHECKPOINT.description
    with pytest.raises(Reached):
        open_model(path)


@pytest.mark.parametrize("keep_digest", [True, False])
def test_other_weights_are_noticed_by_the_digest_only(keep_digest: bool, tmp_path: Path) -> None:
    graph = bytearray(GRAPH.content)
    start = GRAPH.starts["head.weight"]
    graph[start : start + 4] = np.float32(7).tobytes()
    path = written(tmp_path / "x.tflite", bytes(graph), unchanged, keep_digest=keep_digest)
    with pytest.raises(ChangedExportError if keep_digest else Reached):
        open_model(path)


def test_every_byte_but_those_of_weights_is_checked(tmp_path: Path) -> None:
    weights = as_arrays(CHECKPOINT).weights
    inside = np.zeros(len(GRAPH.content), bool)
    for name, weight in weights.items():
        inside[GRAPH.starts[name] : GRAPH.starts[name] + weight.nbytes] = True
    for position in random.Random(0).sample(list(np.flatnonzero(~inside)), 150):
        graph = bytearray(GRAPH.content)
        graph[position] ^= 1 << (position % 8)
        assert "not the graph that this version" in refusal(written(tmp_path / "x.tflite", bytes(graph), unchanged))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["checkpoint"]["model"].update(num_blocks=3), "not the graph that this version"),
        (lambda v: v["checkpoint"]["model"].update(hidden_dim=1 << 20), "not the graph that this version"),
        (lambda v: v["checkpoint"]["model"].update(gelu="tanh" if CHECKPOINT.config.gelu == "erf" else "erf"), "graph"),
        (lambda v: v.update(precision="int8"), "its precision is 'int8'"),
        (lambda v: v.update(pixels="in"), "pixels"),
        (lambda v: v.update(format="other"), "not a description written by allmlp"),
        (lambda v: v["checkpoint"].pop("class_names"), "class_names"),
    ],
)
def test_a_description_of_another_mixer_is_refused(
    change: Callable[[dict], object], words: str, tmp_path: Path
) -> None:
    assert words in refusal(written(tmp_path / "x.tflite", GRAPH.content, change))


def test_infinite_weights_and_files_without_a_description(tmp_path: Path) -> None:
    graph = bytearray(GRAPH.content)
    start = GRAPH.starts["head.weight"]
    graph[start : start + 4] = np.float32("inf").tobytes()
    assert "NaN or infinity in head.weight" in refusal(written(tmp_path / "x.tflite", bytes(graph), unchanged))
    (tmp_path / "y.tflite").write_bytes(GRAPH.content)
    assert "allmlp export CHECKPOINT --to litert" in refusal(tmp_path / "y.tflite")
    assert "no such file; expected a .tflite file" in refusal(tmp_path / "z.tflite")
    os.mkfifo(tmp_path / "pipe.tflite")
    assert "not a regular file" in refusal(tmp_path / "pipe.tflite")


def test_files_that_are_cut_or_damaged_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    generator = random.Random(0)
    for length in [*range(0, len(CONTENT), len(CONTENT) // 40), len(CONTENT) - 1]:
        path.write_bytes(CONTENT[:length])
        refusal(path)
    for _ in range(200):
        damaged = bytearray(CONTENT)
        for _ in range(generator.choice((1, 1, 8))):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            open_model(path)
        except AllmlpError as error:
            assert len(str(error).splitlines()) == 1
        except Reached:  # in what the archive says about times, or the same byte
            assert open_export(path).description == CHECKPOINT.description


def test_a_changed_bit_of_the_description_is_a_change_and_a_cut_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    start = CONTENT.index(CHECKPOINT.class_names[0].encode())
    path.write_bytes(CONTENT[:start] + bytes([CONTENT[start] ^ 1]) + CONTENT[start + 1 :])
    with pytest.raises(
        ChangedExportError, match=r"changed since it was written \(the checksum of 'allmlp.json' is wrong\)"
    ):
        open_export(path)
    path.write_bytes(CONTENT[: len(CONTENT) // 2])
    assert "x.tflite: cut short, or a .tflite file without the description" in refusal(path)
