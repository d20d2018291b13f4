"""The ONNX graph: valid, the same bytes each time, and the checkpoint's Mixer for every reader; oracles: torch and onnx."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from tests.builders import tiny_checkpoint
from tests.exports.conftest import SHAPES, random_images

from allmlp import Checkpoint, ConfigError, load_checkpoint
from allmlp.checkpoints import as_arrays
from allmlp.exports import import_openvino, onnx_bytes, parse_onnx
from allmlp.exports.onnx_model.graph import OPERATORS, OPSET

# Sums are taken in another order than in torch: float32 rounding, not more.
RELATIVE = 1e-5


def assert_close(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=RELATIVE, atol=RELATIVE * np.abs(expected).max())


def torch_outputs(
    checkpoint: Checkpoint, images: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the logits and the features of plain PyTorch."""
    model = checkpoint.build()
    with torch.no_grad():
        features = model.features(torch.from_numpy(images))
        return model(torch.from_numpy(images)).numpy(), features.numpy()


def test_the_graph_is_valid_onnx_with_stable_names(mixer: Checkpoint) -> None:
    proto = onnx.load_from_string(onnx_bytes(as_arrays(mixer)))
    onnx.checker.check_model(proto, full_check=True)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", OPSET)]
    names = [node.name for node in proto.graph.node]
    assert len(set(names)) == len(names)
    assert {node.op_type for node in proto.graph.node} == OPERATORS
    for layer in ("token_mixing.fc1", "token_mixing.fc2", "channel_mixing.fc1", "channel_mixing.fc2"):
        (node,) = [node for node in proto.graph.node if node.name == f"blocks.0.{layer}"]
        assert (node.op_type, node.input[1]) == ("MatMul", f"blocks.0.{layer}.weight")
    assert [value.name for value in proto.graph.input] == ["images"]
    assert [value.name for value in proto.graph.output] == ["logits", "features", "contributions"]
    assert all(value.type.tensor_type.shape.dim[0].dim_param == "batch" for value in proto.graph.output)
    assert {tensor.name for tensor in proto.graph.initializer} >= set(mixer.weights)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 33])
def test_onnx_runtime_and_openvino_agree_with_torch_on_the_whole_graph(mixer: Checkpoint, batch_size: int) -> None:
    images = random_images(batch_size, mixer.config)
    logits, features = torch_outputs(mixer, images)
    content = onnx_bytes(as_arrays(mixer))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    openvino = import_openvino()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(content), "CPU", settings)(images)
    for found in (
        session.run(None, {"images": images}),
        [compiled[name] for name in ("logits", "features", "contributions")],
    ):
        assert_close(found[0], logits)
        assert_close(found[1], features)
        assert found[2].shape == (batch_size, mixer.config.num_tokens, mixer.config.num_classes)
        bias = mixer.weights["head.bias"].numpy()
        assert_close(found[2].sum(axis=1) + bias, logits)


@pytest.mark.parametrize("shape", ["tanh, not square", "erf"])
def test_the_reference_evaluator_of_onnx_agrees_with_torch(shape: str) -> None:
    mixer = tiny_checkpoint(**SHAPES[shape])
    images = random_images(2, mixer.config)
    evaluator = onnx.reference.ReferenceEvaluator(onnx.load_from_string(onnx_bytes(as_arrays(mixer))))
    found = evaluator.run(None, {"images": images})
    logits, features = torch_outputs(mixer, images)
    assert_close(found[0], logits)
    assert_close(found[1], features)


def test_the_contribution_of_a_patch_is_that_of_its_token(checkpoint: Checkpoint) -> None:
    """By the definition, from the tokens of torch: the share of patch s in logit k is w_k . x_s / S."""
    images = random_images(2, checkpoint.config)
    model = checkpoint.build()
    tokens: list[torch.Tensor] = []
    model.pre_head_norm.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    with torch.no_grad():
        model(torch.from_numpy(images))
        expected = tokens[0] @ model.head.weight.T / checkpoint.config.num_tokens  # type: ignore[union-attr]
    session = onnxruntime.InferenceSession(onnx_bytes(as_arrays(checkpoint)), providers=["CPUExecutionProvider"])
    assert_close(session.run(["contributions"], {"images": images})[0], expected.numpy())


def test_a_model_without_classifier_has_only_features() -> None:
    mixer = tiny_checkpoint(num_classes=0)
    images = random_images(3, mixer.config)
    session = onnxruntime.InferenceSession(onnx_bytes(as_arrays(mixer)), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images})
    assert_close(found, torch_outputs(mixer, images)[1])


def test_one_output_needs_no_more_than_its_part_of_the_graph(checkpoint: Checkpoint) -> None:
    whole = parse_onnx(onnx_bytes(as_arrays(checkpoint)), where="x")
    names = {}
    for output in ("logits", "features", "contributions"):
        proto = onnx.load_from_string(whole.graph(output))
        onnx.checker.check_model(proto, full_check=True)
        assert [value.name for value in proto.graph.output] == [output]
        assert not proto.metadata_props
        names[output] = {node.name for node in proto.graph.node}
    assert names["logits"] - names["features"] == {"head", "head.rows", "head.halves", "logits"}
    assert "contributions.sum" not in names["logits"]
    with pytest.raises(ValueError, match="no output 'tokens'"):
        whole.graph("tokens")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_width_are_exported_in_float32(dtype: torch.dtype) -> None:
    mixer = tiny_checkpoint(dtype=dtype)
    images = random_images(2, mixer.config)
    session = onnxruntime.InferenceSession(onnx_bytes(as_arrays(mixer)), providers=["CPUExecutionProvider"])
    assert_close(session.run(["logits"], {"images": images})[0], torch_outputs(mixer, images)[0])


def test_a_model_that_is_too_large_for_the_format_is_a_config_error(checkpoint: Checkpoint) -> None:
    model = as_arrays(checkpoint)
    huge = np.broadcast_to(np.float32(0), (1 << 15, 1 << 14))  # takes no memory
    with pytest.raises(ConfigError, match="An ONNX file is at most 2 GiB"):
        onnx_bytes(model._replace(weights={**model.weights, "head.weight": huge}))


def test_the_same_checkpoint_gives_the_same_bytes_in_any_process_and_torch_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from allmlp import export; "
        "export('starter', out=sys.argv[1]); export('starter', to='openvino', out=sys.argv[2]); "
        "print('torch' in sys.modules, sys.modules['openvino_telemetry'])"
    )
    for seed in "12":
        files = [tmp_path / f"{seed}{ending}" for ending in (".onnx", ".xml")]
        run = subprocess.run(
            [sys.executable, "-c", code, *map(str, files)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert run.stdout.split() == ["False", "None"]
    for ending in (".onnx", ".xml", ".bin"):
        first, second = ((tmp_path / f"{seed}{ending}").read_bytes() for seed in "12")
        assert first == second
    assert (tmp_path / "1.onnx").read_bytes() == onnx_bytes(as_arrays(load_checkpoint("starter")))
