"""What was tuned is used on the same machine for the same shape, and ignored anywhere else."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.builders import tiny_config

from allmlp import Checkpoint, export, open_model
from allmlp.bench import tune
from allmlp.inference import Tuned, read_tuned, write_tuned
from allmlp.inference.tuned import machine


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_auto_takes_the_fastest_backend_that_is_remembered_and_says_why(checkpoint: Checkpoint) -> None:
    images = np.random.default_rng(0).standard_normal((3, 3, *checkpoint.config.image_size), dtype=np.float32)
    untuned = open_model(checkpoint, device="cpu")
    assert untuned.remark == ""
    write_tuned(checkpoint.config, {"eager": 0.003, "openvino": 0.001, "onnxruntime": 0.002})
    tuned = open_model(checkpoint, device="cpu")
    assert tuned.remark.startswith("Backend openvino: the fastest here by allmlp bench --tune of ")
    assert "openvino 1, onnxruntime 2, eager 3" in tuned.remark
    np.testing.assert_array_equal(
        tuned.forward(images), open_model(checkpoint, backend="openvino", device="cpu").forward(images)
    )
    np.testing.assert_allclose(tuned.forward(images), untuned.forward(images), rtol=1e-5, atol=1e-5)


def test_a_backend_or_a_precision_that_is_asked_for_is_not_replaced(checkpoint: Checkpoint) -> None:
    write_tuned(checkpoint.config, {"openvino": 0.001})
    assert open_model(checkpoint, backend="eager", device="cpu").remark == ""
    assert open_model(checkpoint, precision="bfloat16", device="cpu").remark == ""


def test_an_export_takes_only_backends_that_run_it(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = export(checkpoint, to="onnx", out=tmp_path / "x.onnx")
    write_tuned(checkpoint.config, {"eager": 0.001, "openvino": 0.002, "onnxruntime": 0.003})
    assert open_model(path).remark.startswith("Backend openvino")


def test_another_shape_is_not_tuned(checkpoint: Checkpoint) -> None:
    write_tuned(checkpoint.config, {"openvino": 0.001})
    assert read_tuned(tiny_config(hidden_dim=16)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:40],
        lambda text: "[]",
        lambda text: text.replace("0.001", "-1"),
        lambda text: text.replace("0.001", '"fast"'),
        lambda text: json.dumps({**json.loads(text), "machine": {}}),
        lambda text: json.dumps({**json.loads(text), "seconds_per_image": {}}),
        lambda text: text + " " * (1 << 17),
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_or_foreign_file_is_ignored_with_a_remark(change, checkpoint: Checkpoint) -> None:
    path = write_tuned(checkpoint.config, {"openvino": 0.001})
    path.write_text(change(path.read_text()))
    model = open_model(checkpoint, device="cpu")
    assert "is damaged or was not written on this machine" in model.remark
    assert str(path) in model.remark


def test_the_machine_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("model name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512f amx_bf16\n")
    facts = machine(tmp_path)
    assert facts["processor"] == "Some CPU @ 2 GHz"
    assert facts["instruction_sets"] == ["amx_bf16", "avx2", "avx512f"]


def test_tuning_measures_and_remembers_all_backends_but_the_compiled(checkpoint: Checkpoint, cache: Path) -> None:
    seconds, path = tune(checkpoint, seconds=600)  # 12 rounds at most
    assert set(seconds) == {"eager", "onnxruntime", "openvino"}
    assert path.is_relative_to(cache)
    found = read_tuned(checkpoint.config)
    assert isinstance(found, Tuned)
    assert list(found.seconds_per_image) == list(seconds)


def test_an_engine_that_fails_is_left_out_of_the_tuning(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr("openvino.Core.compile_model", fail)
    lines: list[str] = []
    seconds, _ = tune(checkpoint, seconds=5, report=lines.append)
    assert set(seconds) == {"eager", "onnxruntime"}
    (line,) = lines
    assert line.startswith("openvino: left out. ") and "no such instruction" in line
