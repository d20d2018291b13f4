"""What was tuned is used on the same machine for the same shape, and ignored anywhere else."""

import dataclasses
import json
import re
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.builders import tiny_config

from allmlp import Checkpoint, ConfigError, MissingExtraError, export, load_checkpoint, open_model
from allmlp.bench import tune
from allmlp.exports import open_export
from allmlp.inference import EngineSettings, Tuned, read_tuned, tuned_as, write_tuned
from allmlp.inference.backends.cpu_source import settings_to_try, usual_settings
from allmlp.inference.tuned import machine
from allmlp.model import variant_config
from allmlp.quantisation import unjudged_int8


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


def test_without_the_default_in_the_measurement_nothing_is_faster_than_it(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """As after tuning an export, which eager does not open."""
    path = export(checkpoint, to="onnx", out=tmp_path / "x.onnx")
    write_tuned(checkpoint.config, {"onnxruntime": 0.002, "openvino": 0.001})
    assert open_model(checkpoint, device="cpu").remark == ""
    assert open_model(path).remark.startswith("Backend openvino")


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


def test_the_other_gelu_is_not_tuned(checkpoint: Checkpoint) -> None:
    """It is a large part of the time of everything but matrix products, and another one in each engine."""
    write_tuned(checkpoint.config, {"openvino": 0.001})
    (other,) = {"tanh", "erf"} - {checkpoint.config.gelu}
    assert read_tuned(dataclasses.replace(checkpoint.config, gelu=other)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:40],
        lambda text: "[]",
        lambda text: text.replace("0.001", "-1"),
        lambda text: text.replace("0.001", '"fast"'),
        lambda text: json.dumps({**json.loads(text), "machine": {}}),
        lambda text: json.dumps({**json.loads(text), "seconds_per_image": {}}),
        lambda text: json.dumps({**json.loads(text), "settings": {"openvino": {"num_streams": 0}}}),
        lambda text: json.dumps({**json.loads(text), "settings": {"openvino": {"speed": "high"}}}),
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


def test_the_machine_is_the_same_whether_or_not_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("allmlp.hardware.num_compute_threads.usable_cores", lambda *_, **__: 3)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 5))
    with_torch = machine()
    monkeypatch.delitem(sys.modules, "torch")
    assert machine() == with_torch
    assert with_torch["num_threads"] == 3


def test_tuning_measures_and_remembers_all_backends_but_the_compiled(checkpoint: Checkpoint, cache: Path) -> None:
    seconds, path = tune(checkpoint, seconds=600)  # 12 rounds at most
    assert set(seconds) == {"eager", "litert", "onnxruntime", "openvino"}
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
    assert set(seconds) == {"eager", "litert", "onnxruntime"}
    (line,) = [line for line in lines if "left out" in line]
    assert line.startswith("openvino: left out. ") and "no such instruction" in line


def test_without_any_backend_tuning_gives_the_reasons(
    checkpoint: Checkpoint, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, _: object) -> None:
        raise MissingExtraError(f"The backend {name} needs a library")

    monkeypatch.setattr("allmlp.bench.tuning.check_installed", missing)
    with pytest.raises(ConfigError, match="nothing was measured") as caught:
        tune(checkpoint)
    reasons = re.findall(r"(\w+): The backend (\w+) needs a library", str(caught.value))
    assert reasons == [(name, name) for name in ("eager", "onnxruntime", "openvino", "litert")]
    assert not list(cache.rglob("*.json"))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_engine_takes_its_tuned_settings_and_answers_the_same(
    backend: str, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("allmlp.inference.backends.cpu_source.num_compute_threads", lambda: 2)
    images = np.random.default_rng(0).standard_normal((9, 3, *checkpoint.config.image_size), dtype=np.float32)
    expected = open_model(checkpoint, backend=backend).forward(images)
    settings = EngineSettings(num_streams=2, largest_micro_batch=4)
    write_tuned(checkpoint.config, {backend: 0.001}, {backend: settings})
    model = open_model(checkpoint, backend=backend)
    assert model.settings == {"num_threads": 2, "num_streams": 2, "largest_micro_batch": 4, "spins": False}
    answers = model.forward(images)
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-5)
    # Alone, in a call of several streams, or in any other: the same bits.
    for start, end in ((0, 1), (3, 4), (2, 9), (0, 9)):
        np.testing.assert_array_equal(model.forward(images[start:end]), answers[start:end])


def test_settings_that_differ_in_anything_are_remembered_by_precision(checkpoint: Checkpoint) -> None:
    write_tuned(checkpoint.config, {"onnxruntime": 0.001}, {"onnxruntime": EngineSettings(spins=True)}, "int8")
    assert read_tuned(checkpoint.config) is None
    found = read_tuned(checkpoint.config, "int8")
    assert isinstance(found, Tuned) and found.settings["onnxruntime"].spins


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_streams": 0}, "num_streams is 0; expected an integer from 1 to 64"),
        ({"num_threads": True}, "num_threads is True"),
        ({"largest_micro_batch": 128}, "largest_micro_batch is 128"),
        ({"spins": "yes"}, "spins is 'yes'; expected true or false"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EngineSettings.from_dict(values)


def test_an_int8_export_is_tuned_in_its_own_precision(checkpoint: Checkpoint, tmp_path: Path) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (4, *checkpoint.config.image_size, 3), dtype=np.uint8)
    path = tmp_path / "int8.onnx"
    path.write_bytes(unjudged_int8(checkpoint, photos))
    assert open_model(path).remark == "Backend onnxruntime: the default for int8 files."
    seconds, _ = tune(path, seconds=600)
    assert set(seconds) <= {"onnxruntime", "openvino"} and seconds
    assert isinstance(read_tuned(checkpoint.config, tuned_as(open_export(path).info)), Tuned)
    assert read_tuned(checkpoint.config) is None


def test_another_int8_file_of_the_shape_stays_with_the_default(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Whether the engines give its photos the same classes was not measured."""
    photos = np.random.default_rng(0).integers(0, 256, (4, *checkpoint.config.image_size, 3), dtype=np.uint8)
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for number, path in enumerate(paths):
        path.write_bytes(unjudged_int8(checkpoint, photos[number:]))
    remembered_as = tuned_as(open_export(paths[0]).info)
    write_tuned(checkpoint.config, {"openvino": 0.001, "onnxruntime": 0.002}, None, remembered_as)
    backends = [open_model(path).backend for path in paths]
    assert backends == ["openvino", "onnxruntime"]


def test_tuning_an_export_keeps_what_is_known_of_backends_that_do_not_open_it(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    settings = {"onnxruntime": EngineSettings(spins=True)}
    write_tuned(checkpoint.config, {"eager": 0.5, "onnxruntime": 0.25, "litert": 1.0}, settings)
    seconds, _ = tune(export(checkpoint, to="litert", out=tmp_path / "x.tflite"), seconds=5)
    found = read_tuned(checkpoint.config)
    assert isinstance(found, Tuned) and found.settings == settings
    assert found.seconds_per_image == {"eager": 0.5, "onnxruntime": 0.25, "litert": seconds["litert"]}


def test_what_others_measure_meanwhile_is_kept(checkpoint: Checkpoint) -> None:
    """Fault: each read the file, and the last one to write it had not seen what the others had added."""
    names = [f"backend {number}" for number in range(24)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        for done in [pool.submit(write_tuned, checkpoint.config, {name: 0.5}, tried=[name]) for name in names]:
            done.result()
    found = read_tuned(checkpoint.config)
    assert isinstance(found, Tuned) and set(found.seconds_per_image) == set(names)


def test_a_full_disk_is_noticed_before_anything_is_measured(checkpoint: Checkpoint, cache: Path) -> None:
    """RLIMIT_FSIZE is the kernel's own refusal to write more, which allows an empty file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    lines: list[str] = []
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
        with pytest.raises(
            ConfigError, match=r"tuned: the fastest backend could not be remembered here \(File too large\)"
        ):
            tune(checkpoint, report=lines.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not lines and not list((cache / "tuned").iterdir())


def test_a_file_of_torch_in_bfloat16_is_tuned(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = export(checkpoint, to="torch", precision="bfloat16", out=tmp_path / "x.pt2")
    assert list(tune(path, seconds=5)[0]) == ["eager"]


def test_a_chosen_number_of_threads_is_not_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    def cores(*, physical: bool = False) -> int:
        return 2 if physical else 4

    monkeypatch.setattr("allmlp.inference.backends.cpu_source.usable_cores", cores)
    for threads, setting, expected in ((2, "", {None, 4}), (1, "", {None}), (2, "2", {None})):
        monkeypatch.setattr("allmlp.inference.backends.cpu_source.num_compute_threads", lambda threads=threads: threads)
        monkeypatch.setenv("OMP_NUM_THREADS", setting)
        assert {each.num_threads for each in settings_to_try(is_small=True)} == expected


def test_of_a_large_mixer_few_settings_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.inference.backends.cpu_source.num_compute_threads", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    for first, expected in ((16, [(16, 1), (1, 2), (4, 1), (16, 2)]), (4, [(4, 1), (1, 2), (16, 1), (16, 2)])):
        tried = settings_to_try(is_small=False, first=first)
        assert [(each.largest_micro_batch, each.num_streams) for each in tried] == expected
    assert len(set(settings_to_try(is_small=True))) == 8


@pytest.mark.parametrize("is_small", [True, False])
def test_no_more_streams_than_allowed_are_tried_on_many_cores(is_small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.inference.backends.cpu_source.num_compute_threads", lambda: 96)
    assert {each.num_streams for each in settings_to_try(is_small=is_small)} == {1, 64}


@pytest.mark.parametrize(("variant", "size"), [("S/16", 2), ("S/32", 8), ("B/32", 2), ("B/16", 1), ("H/14", 1)])
def test_the_values_of_a_micro_batch_fit_into_the_caches(variant: str, size: int) -> None:
    assert usual_settings("onnxruntime", variant_config(variant)).largest_micro_batch == size
    assert usual_settings("openvino", variant_config(variant)) == EngineSettings()


def test_a_small_mixer_has_large_micro_batches() -> None:
    assert usual_settings("onnxruntime", load_checkpoint("starter").config) == EngineSettings()
