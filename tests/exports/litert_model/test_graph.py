"""The .tflite file of a Mixer, in LiteRT without allmlp: the checkpoint's outputs, in any batch."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.builders import tiny_checkpoint
from tests.exports.conftest import random_images

from allmlp import Checkpoint, ConfigError, export
from allmlp.checkpoints import as_arrays
from allmlp.exports import litert_bytes
from allmlp.exports.litert_model import graph as graph_module

interpreter = pytest.importorskip("ai_edge_litert.interpreter")


def outputs_of(content: bytes, images: np.ndarray, **options: object) -> dict[str, np.ndarray]:
    """Return all outputs of a file by their names in its signature."""
    engine = interpreter.Interpreter(model_content=content, **options)
    (name,) = engine.get_signature_list()["serving_default"]["inputs"]
    assert name == "images"
    index = engine.get_input_details()[0]["index"]
    engine.resize_tensor_input(index, images.shape, strict=True)
    engine.allocate_tensors()
    engine.set_tensor(index, images)
    engine.invoke()
    return {details["name"]: engine.get_tensor(details["index"]) for details in engine.get_output_details()}


@pytest.mark.parametrize("resolver", ["AUTO", "BUILTIN_REF"])  # XNNPACK, and the slow kernels that define the operators
def test_every_shape_has_the_checkpoints_outputs_in_any_batch(mixer: Checkpoint, resolver: str) -> None:
    content = litert_bytes(as_arrays(mixer))
    model = mixer.build().eval()
    kind = getattr(interpreter.OpResolverType, resolver)
    for number in (1, 2, 3, 33):
        images = random_images(number, mixer.config, seed=number)
        found = outputs_of(content, images, experimental_op_resolver_type=kind)
        with torch.no_grad():
            features = model.features(torch.from_numpy(images))
            expected = {"features": features.numpy(), "logits": model(features).numpy()}
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5)
        assert found["contributions"].shape == (number, mixer.config.num_tokens, mixer.config.num_classes)
        total = found["contributions"].sum(axis=1) + mixer.weights["head.bias"].numpy()
        np.testing.assert_allclose(total, expected["logits"], rtol=1e-4, atol=1e-5)


def test_a_mixer_without_a_classifier_has_features_only() -> None:
    mixer = tiny_checkpoint(num_classes=0, class_names=())
    assert set(outputs_of(litert_bytes(as_arrays(mixer)), random_images(2, mixer.config))) == {"features"}


def test_weights_are_aligned_and_have_their_names(checkpoint: Checkpoint) -> None:
    finished = graph_module.mixer_graph(checkpoint.config, as_arrays(checkpoint).weights)
    for name, weight in as_arrays(checkpoint).weights.items():
        start = finished.starts[name]
        assert start % 64 == 0
        assert finished.content[start : start + weight.nbytes] == weight.tobytes()
    details = interpreter.Interpreter(model_content=finished.content).get_tensor_details()
    assert set(checkpoint.weights) <= {tensor["name"] for tensor in details}


def test_the_description_is_in_a_zip_archive_at_the_end_and_names_no_path(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(class_names=("a b", "naïve 猫", 'two\n"lines"'), source="/home/ann/secret/run")
    path = export(checkpoint, to="litert", out=tmp_path / "x.tflite")
    with zipfile.ZipFile(path) as archive:
        description = json.loads(archive.read("allmlp.json"))["checkpoint"]
    assert description["class_names"] == list(checkpoint.class_names)
    for words in ("secret", "site-packages", "/src/", str(tmp_path), str(Path.home()) + "/"):
        assert words.encode() not in path.read_bytes()


def test_an_interpreter_reads_the_file_from_disk(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = export(checkpoint, to="litert", out=tmp_path / "x.tflite")
    runner = interpreter.Interpreter(model_path=str(path)).get_signature_runner()
    images = random_images(1, checkpoint.config)
    with torch.no_grad():
        expected = checkpoint.build().eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(runner(images=images)["logits"], expected, rtol=1e-5, atol=1e-5)


def test_writing_and_running_load_neither_torch_nor_tensorflow(tmp_path: Path, checkpoint: Checkpoint) -> None:
    from allmlp import save_checkpoint

    saved = save_checkpoint(checkpoint, tmp_path / "saved")
    code = (
        "import sys; from allmlp import export, open_model; "
        f"path = export({str(saved)!r}, to='litert', out={str(tmp_path / 'x.tflite')!r}); "
        "open_model(path); "
        f"open_model({str(saved)!r}, backend='litert'); "
        "assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_a_model_that_is_too_large_is_refused(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "_MAX_BYTES", (16 << 20) + 1000)
    with pytest.raises(ConfigError, match=r"\.tflite file is at most 2 GiB"):
        litert_bytes(as_arrays(checkpoint))
