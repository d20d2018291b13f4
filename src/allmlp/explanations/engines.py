"""The contributions of patches in each engine: PyTorch, which also reads every block, ONNX Runtime, OpenVINO and LiteRT.

S tokens, C channels, K classes, N blocks. The engines of exports compute the output `contributions`, which every export has.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, as_arrays, load_arrays, load_checkpoint
from allmlp.exports import (
    Export,
    LitertExport,
    LitertInterpreter,
    OnnxExport,
    OpenvinoExport,
    export_kind,
    import_onnxruntime,
    import_openvino,
    litert_bytes,
    onnx_bytes,
    open_export,
    parse_onnx,
)
from allmlp.hardware.devices import choose_device
from allmlp.hardware.num_compute_threads import num_compute_threads

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PatchReading", "read_in_litert", "read_in_onnx_runtime", "read_in_openvino", "read_in_torch"]

PatchReading = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
"""From images (B, 3, H, W) to contributions (B, S, K), and the logits after each block (B, N, K) or None."""

_VALUE = "contributions"
_ONLY_ERRORS = 3


def read_in_torch(source: str | Path | Checkpoint, device: str) -> PatchReading:
    """Return a reading in PyTorch, in float32."""
    import torch

    checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    device = choose_device(device)
    model = checkpoint.build().to(device).eval()
    assert model.head is not None
    head, norm = model.head, model.pre_head_norm

    def read(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            x = model.patch_projection(torch.from_numpy(np.array(images, np.float32)).to(device))  # (B, S, C)
            blocks = []
            for block in model.blocks:
                x = block(x, None)
                blocks.append(head(norm(x).mean(dim=1)))
            values = torch.nn.functional.linear(norm(x), head.weight) / x.shape[1]  # (B, S, K)
            return _array(values), _array(torch.stack(blocks, dim=1))

    return read


def _array(values: "Tensor") -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.float().cpu().numpy()
    return array


def read_in_onnx_runtime(source: str | Path | Checkpoint | ArrayCheckpoint, device: str) -> PatchReading:
    """Return a reading in ONNX Runtime, on the CPU."""
    del device  # which `open_model` checked
    model = _opened(source)
    assert isinstance(model, OnnxExport)
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_compute_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = _ONLY_ERRORS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    note = model.info.quantisation
    if note is not None and not note.num_integer_layers:  # as in inference/backends/onnx_runtime.py
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = runtime.InferenceSession(model.graph(_VALUE), options, providers=["CPUExecutionProvider"])

    def read(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], None]:
        (values,) = session.run([_VALUE], {"images": images})
        return values, None

    return read


def read_in_openvino(source: str | Path | Checkpoint | ArrayCheckpoint, device: str) -> PatchReading:
    """Return a reading in OpenVINO, on the CPU."""
    del device
    model = _opened(source)
    assert isinstance(model, OnnxExport | OpenvinoExport)
    openvino = import_openvino()
    core = openvino.Core()
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": num_compute_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # as in inference/backends/openvino_runtime.py
        "ENABLE_CPU_PINNING": False,
    }
    whole = core.read_model(model.graph(_VALUE) if isinstance(model, OnnxExport) else model.path)
    part = openvino.Model([whole.output(_VALUE).get_node()], whole.get_parameters())
    compiled = core.compile_model(part, "CPU", settings)

    def read(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], None]:
        values: NDArray[np.float32] = compiled.infer_new_request([np.ascontiguousarray(images)])[0]
        return np.array(values), None

    return read


def read_in_litert(source: str | Path | Checkpoint | ArrayCheckpoint, device: str) -> PatchReading:
    """Return a reading in LiteRT, on the CPU, image by image: each size of a batch would need a copy of the weights."""
    del device
    if not isinstance(source, Checkpoint | ArrayCheckpoint) and export_kind(source) == "litert":
        export = open_export(source)
        assert isinstance(export, LitertExport)
        content, config = export.graph, export.description.config
    else:
        model = _arrays(source)
        content, config = litert_bytes(model), model.description.config
    shape = (1, 3, *config.image_size)
    interpreter = LitertInterpreter(content, shape, [_VALUE], num_threads=num_compute_threads())

    def read(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], None]:
        return np.concatenate([interpreter.run(image[None])[0] for image in images]), None

    return read


def _opened(source: str | Path | Checkpoint | ArrayCheckpoint) -> Export:
    """Return an export; a checkpoint is written as ONNX in memory."""
    if export_kind(source) is not None:
        assert not isinstance(source, Checkpoint | ArrayCheckpoint)
        return open_export(source)
    model = _arrays(source)
    return parse_onnx(onnx_bytes(model), where=model.description.source)


def _arrays(source: str | Path | Checkpoint | ArrayCheckpoint) -> ArrayCheckpoint:
    if isinstance(source, ArrayCheckpoint):
        return source
    return as_arrays(source) if isinstance(source, Checkpoint) else load_arrays(source)
