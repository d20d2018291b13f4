"""`open_model`: what it computes is the checkpoint's Mixer, and what it cannot do it says."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.inference.backends.engines import EVERY

from allmlp import (
    Checkpoint,
    ConfigError,
    MissingExtraError,
    MixerConfig,
    RunnableModel,
    export,
    load_checkpoint,
    open_model,
    save_checkpoint,
)
from allmlp.inference import BACKENDS, Backend, eager_forward
from allmlp.inference.backends.engine_table import MeasuredEngines
from allmlp.inference.backends.openvino_runtime import has_bfloat16
from allmlp.inference.backends.registry import check_installed


def random_images(number: int, config: MixerConfig) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((number, 3, *config.image_size), dtype=np.float32)


@pytest.mark.parametrize("backend", ["auto", *EVERY])
def test_a_path_and_a_checkpoint_give_the_same_model(backend: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    images = random_images(5, checkpoint.config)
    path = save_checkpoint(checkpoint, tmp_path / "saved")
    expected = eager_forward(checkpoint, device="cpu")(images)
    for source in (checkpoint, path, str(path)):
        model = open_model(source, backend=backend, device="cpu")
        assert isinstance(model, RunnableModel)
        logits = model.forward(images)
        if backend in ("auto", "eager"):
            np.testing.assert_array_equal(logits, expected)
        else:  # another library, which adds in another order: float32 rounding, not more
            np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
            np.testing.assert_array_equal(logits, open_model(checkpoint, backend=backend).forward(images))
        assert model.description.class_names == checkpoint.class_names
        assert (model.description.config, model.output) == (checkpoint.config, "logits")


def test_a_name_is_opened() -> None:
    model = open_model("starter", device="cpu")
    assert model.description == load_checkpoint("starter").description
    assert model.forward(random_images(1, model.description.config)).shape == (1, model.description.config.num_classes)


def test_features_are_those_before_the_classifier(checkpoint: Checkpoint) -> None:
    images = random_images(3, checkpoint.config)
    model = open_model(checkpoint, device="cpu", output="features")
    with torch.no_grad():
        expected = checkpoint.build().features(torch.from_numpy(images)).numpy()
    # Another batch, so sums may be taken in another order: float32 rounding, not more.
    np.testing.assert_allclose(model.forward(images), expected, rtol=1e-5, atol=1e-5)
    assert (model.output, model.description) == ("features", checkpoint.description)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_precision_that_a_backend_lacks_is_a_config_error(backend: str, checkpoint: Checkpoint) -> None:
    for precision in {"float32", "bfloat16"} - set(BACKENDS[backend].precisions):
        with pytest.raises(ConfigError, match=f"the backend {backend} computes in 'float32'"):
            open_model(checkpoint, backend=backend, precision=precision)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_backends_of_exports_compute_on_the_cpu(backend: str, checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=f"device is 'cuda', but the backend {backend} computes on the CPU"):
        open_model(checkpoint, backend=backend, device="cuda")


def test_openvino_refuses_bfloat16_where_the_processor_lacks_it(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("allmlp.inference.backends.openvino_runtime.has_bfloat16", lambda: False)
    with pytest.raises(ConfigError, match="'bfloat16', which this processor lacks"):
        open_model(checkpoint, backend="openvino", precision="bfloat16")


def test_auto_takes_a_backend_that_computes_in_the_precision(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Of an ONNX file's two engines, ONNX Runtime is the first, and does not compute in bfloat16."""
    path = export(checkpoint, to="onnx", out=tmp_path / "x.onnx")
    if not has_bfloat16():
        with pytest.raises(ConfigError, match="'bfloat16', which this processor lacks"):
            open_model(path, precision="bfloat16")
        return
    model = open_model(path, precision="bfloat16")
    assert model.remark == "Backend openvino: the only one installed that opens this in bfloat16."
    images = random_images(3, checkpoint.config)
    named = open_model(path, backend="openvino", precision="bfloat16")
    np.testing.assert_array_equal(model.forward(images), named.forward(images))


def test_auto_names_the_engine_that_has_the_precision_if_it_is_not_installed(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(checkpoint, to="onnx", out=tmp_path / "x.onnx")
    without = dataclasses.replace(BACKENDS["openvino"], modules=("no_such_library",))
    monkeypatch.setattr("allmlp.inference.backends.registry.BACKENDS", {**BACKENDS, "openvino": without})
    with pytest.raises(
        MissingExtraError, match=r"backend openvino needs no_such_library: pip install 'allmlp\[openvino\]'"
    ):
        open_model(path, precision="bfloat16")
    assert open_model(path).remark == "Backend onnxruntime: the only one installed that opens this."


def test_an_untuned_export_runs_in_the_engine_of_the_table(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(checkpoint, to="onnx", out=tmp_path / "x.onnx")
    unknown = open_model(path)
    assert unknown.remark == (
        "Backend onnxruntime: the default for exports; allmlp's table has no measurement of this size on such a processor."
    )
    measured = MeasuredEngines(vectors="avx2", gflop_per_image=0.5, seconds={"onnxruntime": 2.0, "openvino": 1.0})
    monkeypatch.setattr("allmlp.inference.opening.measured_engines", lambda _: measured)
    known = open_model(path)
    assert (unknown.backend, known.backend) == ("onnxruntime", "openvino")
    why = "the fastest by allmlp's table for avx2 and Mixers of about 0.5 GFLOP per photo"
    assert known.remark == f"Backend openvino: {why}."


def test_a_backend_that_is_named_needs_no_reason(checkpoint: Checkpoint) -> None:
    assert open_model(checkpoint, backend="onnxruntime").remark == ""


def test_bfloat16_is_used_where_it_is_asked_for(checkpoint: Checkpoint) -> None:
    images = random_images(3, checkpoint.config)
    narrow = open_model(checkpoint, device="cpu", precision="bfloat16").forward(images)
    np.testing.assert_array_equal(narrow, eager_forward(checkpoint, device="cpu", precision="bfloat16")(images))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "eagre"}, "Unknown backend 'eagre'. Did you mean 'eager'.* Choose one of auto, eager"),
        ({"device": "cudaa"}, "unknown device 'cudaa'. Did you mean 'cuda'"),
        ({"precision": "float16"}, "float16.*bfloat16"),
        ({"output": "feature"}, "output is 'feature'; expected 'logits' or 'features'"),
    ],
    ids=str,
)
def test_impossible_options_are_config_errors(options: dict[str, Any], words: str, checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=words):
        open_model(checkpoint, **options)


def test_an_unavailable_device_is_a_config_error(checkpoint: Checkpoint) -> None:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for device in (device for device, there in available.items() if not there):
        with pytest.raises(ConfigError, match=f"{device} is not available"):
            open_model(checkpoint, device=device)


def test_a_missing_library_is_named_with_the_command_that_installs_it() -> None:
    backend = Backend(
        recognises=bool, open=print, precisions=("float32",), modules=("numpy", "no_such_library"), extra="fast"
    )
    with pytest.raises(MissingExtraError, match=r"fast-backend needs no_such_library: pip install 'allmlp\[fast\]'$"):
        check_installed("fast-backend", backend)
    for name, present in BACKENDS.items():
        check_installed(name, present)
