"""The backend openvino: OpenVINO on the CPU, for exports in either format and for checkpoints, in micro-batches.

A checkpoint is written as ONNX in memory, which needs the library onnx; an export needs neither onnx nor torch. Of an ONNX file
with the pixels inside, only the part after them runs here, and allmlp prepares the photos: OpenVINO ignores antialiasing in
ONNX's Resize.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint
from allmlp.errors import ConfigError
from allmlp.exports import OnnxExport, OpenvinoExport, export_kind, import_openvino
from allmlp.hardware.num_decoding_threads import usable_cores
from allmlp.inference.backends.cpu_source import (
    check_integers,
    check_options,
    engine_errors,
    forwards,
    is_openable,
    joined,
    opened,
    resolved_settings,
    value_widths,
)
from allmlp.inference.backends.micro_batches import Compute, Streams, in_micro_batches
from allmlp.inference.engine_settings import EngineSettings
from allmlp.inference.runnable import Output, RunnableModel

__all__ = ["has_bfloat16", "open_openvino", "recognises"]

_NAME = "openvino"


def recognises(source: object) -> bool:
    """Return True for exports in ONNX or of OpenVINO, and for what `load_checkpoint` takes."""
    return is_openable(source) and export_kind(source) in (None, "onnx", "openvino")


def open_openvino(
    source: str | Path | Checkpoint | ArrayCheckpoint,
    device: str,
    precision: str,
    output: Output,
    settings: EngineSettings | None = None,
) -> RunnableModel:
    """Open an export or a checkpoint with OpenVINO, on the CPU; `precision` "auto" means float32.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: another device or precision, or bfloat16 on a processor without it.
        MissingExtraError: a checkpoint, and onnx is not installed.
    """
    check_options(_NAME, device, precision, ("float32", "bfloat16"))
    if precision == "bfloat16" and not has_bfloat16():
        raise ConfigError(
            "precision is 'bfloat16', which this processor lacks: OpenVINO would emulate it, slowly. Use 'float32'."
        )
    hint = "bf16" if precision == "bfloat16" else "f32"
    model = opened(source, import_openvino)
    check_integers(precision, model.info, source)
    assert isinstance(model, OnnxExport | OpenvinoExport)
    config = model.description.config
    widths = value_widths(config, output)
    shape = (3, *config.image_size)
    chosen = resolved_settings(settings, _NAME, model.info)

    def computed_in(num_streams: int) -> Compute:
        compiled: dict[int, Any] = {}  # each size separately, with a copy of the weights of its own
        # Requests are kept, as making one takes a measurable part of a small Mixer's time. Each thread has its own, so that
        # several may use one model.
        kept = threading.local()

        def compute(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
            padded = np.zeros((size, *shape), np.float32)
            padded[: len(images)] = images
            with engine_errors("OpenVINO", source):
                if size not in compiled:
                    compiled[size] = _compile(
                        model, list(widths), padded.shape, hint, chosen.num_threads or 1, num_streams
                    )
                requests: dict[Any, Any] = kept.__dict__
                if size not in requests:
                    requests[size] = compiled[size].create_infer_request()
                values = requests[size].infer([padded])
                outputs = joined((values[index] for index in range(len(widths))), size, widths)
            return outputs[: len(images)]

        return compute

    streams = Streams(chosen.num_streams, computed_in(chosen.num_streams)) if chosen.num_streams > 1 else None
    sizes = tuple(dict.fromkeys((1, chosen.largest_micro_batch)))
    width = sum(widths.values())
    values = in_micro_batches(computed_in(1), config, device="cpu", width=width, sizes=sizes, streams=streams)
    forward, with_features = forwards(values, widths)
    settings_used = chosen.to_dict()
    return RunnableModel(forward, model.description, output, settings=settings_used, with_features=with_features)


def has_bfloat16() -> bool:
    """Return whether OpenVINO has instructions for bfloat16 on this CPU."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _compile(
    model: OnnxExport | OpenvinoExport,
    outputs: Sequence[str],
    shape: tuple[int, ...],
    hint: str,
    num_threads: int,
    num_streams: int,
) -> Any:
    openvino = import_openvino()
    core = openvino.Core()
    # No CACHE_DIR: the start of a Mixer-B/16 from a cache took as long as without one, and each size of a batch would fill the
    # disk with another copy of the weights.
    settings = {
        "INFERENCE_PRECISION_HINT": hint,  # the default is bfloat16 where the processor has it
        "INFERENCE_NUM_THREADS": num_threads,
        "PERFORMANCE_HINT": "LATENCY" if num_streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": num_streams,
        "ENABLE_HYPER_THREADING": num_threads > usable_cores(physical=True),
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # the default rounds inputs of layers of which only the weights are int8
        "ENABLE_CPU_PINNING": False,  # faster on virtual machines that share their cores
    }
    whole = core.read_model(model.graph(*outputs) if isinstance(model, OnnxExport) else model.path)
    part = openvino.Model([whole.output(name).get_node() for name in outputs], whole.get_parameters())
    part.reshape(list(shape))
    return core.compile_model(part, "CPU", settings)
