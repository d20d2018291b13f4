"""The backend onnxruntime: ONNX Runtime on the CPU, for exports in ONNX and for checkpoints, in micro-batches.

A checkpoint is written as ONNX in memory, which needs the library onnx; an export needs neither onnx nor torch. The pixel part
of a file that has one prepares photo by photo in a session of its own, so that the rest is computed as that of any other file.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint
from allmlp.exports import IMAGES, PHOTOS, WEIGHTS, OnnxExport, QuantisationNote, export_kind, import_onnxruntime
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
from allmlp.inference.backends.graph_pixels import GraphPixels
from allmlp.inference.backends.micro_batches import MICRO_BATCH_SIZES, Compute, Streams, in_micro_batches
from allmlp.inference.engine_settings import EngineSettings
from allmlp.inference.runnable import Output, RunnableModel

__all__ = ["open_onnx_runtime", "recognises"]

_NAME = "onnxruntime"
_ONLY_ERRORS = 3
# How long a thread waits actively for the next layer before it sleeps. By default it is many milliseconds, also after a call.
# With 100, single photos of the starter took longer than by default on a processor with AVX2 alone; with 1,000, they do not.
_SPIN_MICROSECONDS = "1000"


def recognises(source: object) -> bool:
    """Return True for exports in ONNX, and for what `load_checkpoint` takes."""
    return is_openable(source) and export_kind(source) in (None, "onnx")


def open_onnx_runtime(
    source: str | Path | Checkpoint | ArrayCheckpoint,
    device: str,
    precision: str,
    output: Output,
    settings: EngineSettings | None = None,
) -> RunnableModel:
    """Open an export or a checkpoint with ONNX Runtime, in float32 on the CPU.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: another device or precision.
        MissingExtraError: a checkpoint, and onnx is not installed.
    """
    check_options(_NAME, device, precision)
    model = opened(source, import_onnxruntime)
    check_integers(precision, model.info, source)
    assert isinstance(model, OnnxExport)  # `recognises` leaves OpenVINO's models to that backend
    config = model.description.config
    widths = value_widths(config, output)
    chosen = resolved_settings(settings, _NAME, model.info)
    num_threads, num_streams = chosen.num_threads or 1, chosen.num_streams
    shape = (3, *config.image_size)

    def opened_session(num_threads: int) -> Any:
        with engine_errors("ONNX Runtime", source):
            return _session(
                model.graph_without_weights(*widths),
                model.info.quantisation,
                weights=model.content,
                num_threads=num_threads,
                spins=chosen.spins,
            )

    def computed_by(session: Callable[[], Any]) -> Compute:
        def compute(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
            padded = np.zeros((size, *shape), np.float32)
            padded[: len(images)] = images
            with engine_errors("ONNX Runtime", source):
                outputs = joined(session().run(list(widths), {"images": padded}), size, widths)
            return outputs[: len(images)]

        return compute

    session = opened_session(num_threads)
    streams = None
    if num_streams > 1:  # which keeps the content of the file until it is needed
        each = functools.cache(lambda: opened_session(max(1, num_threads // num_streams)))
        streams = Streams(num_streams, computed_by(each))
    sizes = tuple(size for size in MICRO_BATCH_SIZES if size <= chosen.largest_micro_batch)
    compute = computed_by(lambda: session)
    values = in_micro_batches(compute, config, device="cpu", width=sum(widths.values()), sizes=sizes, streams=streams)
    forward, with_features = forwards(values, widths)
    return RunnableModel(
        forward,
        model.description,
        output,
        pixels=_pixels(model, source),
        settings=chosen.to_dict(),
        with_features=with_features,
    )


def _pixels(model: OnnxExport, source: object) -> GraphPixels | None:
    """Return what runs the pixel part of a file; None if it takes images."""
    if model.pixels == "out":
        return None
    preprocessing = model.description.preprocessing
    with engine_errors("ONNX Runtime", source):
        session = _session(model.graph(IMAGES), num_threads=1)  # photos are prepared by several threads

    def compute(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        images: NDArray[np.float32]
        with engine_errors("ONNX Runtime", source):
            (images,) = session.run([IMAGES], {PHOTOS: photos})
            if images.shape != (len(photos), 3, *preprocessing.image_size) or images.dtype != np.float32:
                raise ValueError(f"its images are {images.dtype} {images.shape}")
        return images

    return GraphPixels(preprocessing, compute, is_exact=model.pixels == "exact")


def _session(
    graph: bytes,
    note: QuantisationNote | None = None,
    *,
    weights: bytes | None = None,
    num_threads: int,
    spins: bool = False,
) -> Any:
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ONLY_ERRORS
    if not spins:  # for longer than from one layer to the next, which would take the time of threads that decode photos
        options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
    if note is not None and not note.num_integer_layers:
        # In files of earlier versions, ONNX Runtime would otherwise round inputs to 8 bits where only weights are int8.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if weights is not None:  # which ONNX Runtime would otherwise parse and copy: two thirds of its start
        options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
