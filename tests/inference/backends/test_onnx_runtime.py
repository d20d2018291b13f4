"""ONNX Runtime gets large weights next to the graph, and computes the same as from the whole model."""

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.builders import tiny_checkpoint

from allmlp.checkpoints import Checkpoint, as_arrays
from allmlp.exports import WEIGHTS, OnnxExport, onnx_bytes, parse_onnx
from allmlp.inference.backends.onnx_runtime import _session
from allmlp.quantisation import unjudged_int8


@pytest.fixture(scope="module")
def wide() -> Checkpoint:
    """A Mixer some of whose weights are large, also as int8."""
    return tiny_checkpoint(hidden_dim=256, channels_mlp_dim=320)


def opened(checkpoint: Checkpoint, *, is_int8: bool) -> OnnxExport:
    photos = np.random.default_rng(0).integers(0, 256, (2, *checkpoint.config.image_size, 3), dtype=np.uint8)
    content = unjudged_int8(checkpoint, photos) if is_int8 else onnx_bytes(as_arrays(checkpoint))
    return parse_onnx(content, where="made by a test")


@pytest.mark.parametrize("is_int8", [False, True], ids=["float32", "int8"])
def test_a_graph_without_weights_computes_the_same_as_the_whole(wide: Checkpoint, is_int8: bool) -> None:
    model = opened(wide, is_int8=is_int8)
    graph = model.graph_without_weights("logits")
    session = _session(graph, model.info.quantisation, weights=model.content, num_threads=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    whole = onnxruntime.InferenceSession(model.graph("logits"), options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((3, 3, *wide.config.image_size), dtype=np.float32)
    del model  # the session must not need it any more
    (expected,) = whole.run(["logits"], {"images": images})
    np.testing.assert_array_equal(session.run(["logits"], {"images": images})[0], expected)


def test_large_weights_are_references_and_small_ones_are_kept(wide: Checkpoint) -> None:
    model = opened(wide, is_int8=False)
    graph = onnx.load_from_string(model.graph_without_weights("logits")).graph
    whole = {tensor.name: tensor for tensor in onnx.load_from_string(model.content).graph.initializer}
    outside = [tensor for tensor in graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    assert {tensor.name for tensor in outside} == {
        f"blocks.{index}.channel_mixing.{layer}.weight" for index in (0, 1) for layer in ("fc1", "fc2")
    } | {"patch_projection.weight"}
    for tensor in outside:
        reference = {entry.key: entry.value for entry in tensor.external_data}
        start, length = int(reference["offset"]), int(reference["length"])
        assert reference["location"] == WEIGHTS and tensor.dims == whole[tensor.name].dims
        assert model.content[start : start + length] == whole[tensor.name].raw_data
    kept = [tensor for tensor in graph.initializer if tensor not in outside]
    assert all(tensor == whole[tensor.name] for tensor in kept)
