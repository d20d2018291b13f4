"""The backend litert: LiteRT (TensorFlow Lite) on the CPU, for .tflite exports and for checkpoints, in micro-batches.

A checkpoint is written as .tflite in memory. Neither needs torch or TensorFlow.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, ModelDescription
from allmlp.exports import LitertExport, LitertInterpreter, export_kind, litert_bytes, open_export
from allmlp.hardware.num_compute_threads import num_compute_threads
from allmlp.inference.backends.cpu_source import (
    check_options,
    engine_errors,
    forwards,
    is_openable,
    joined,
    loaded_arrays,
    value_widths,
)
from allmlp.inference.backends.micro_batches import LARGEST_MICRO_BATCH, in_micro_batches
from allmlp.inference.runnable import Output, RunnableModel

__all__ = ["open_litert", "recognises"]

_NAME = "litert"
_SIZES = (1, LARGEST_MICRO_BATCH["cpu"])  # each has an interpreter of its own, with a copy of the weights


def recognises(source: object) -> bool:
    """Return True for .tflite files, and for what `load_checkpoint` takes."""
    return is_openable(source) and export_kind(source) in (None, "litert")


def open_litert(
    source: str | Path | Checkpoint | ArrayCheckpoint, device: str, precision: str, output: Output
) -> RunnableModel:
    """Open an export or a checkpoint with LiteRT, in float32 on the CPU.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: another device or precision.
    """
    check_options(_NAME, device, precision)
    content, description = _opened(source)
    config = description.config
    widths = value_widths(config, output)
    with engine_errors("LiteRT", source):
        interpreters = {
            size: LitertInterpreter(
                content, (size, 3, *config.image_size), list(widths), num_threads=num_compute_threads()
            )
            for size in _SIZES
        }

    def compute(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        padded = np.zeros((size, *images.shape[1:]), np.float32)
        padded[: len(images)] = images
        with engine_errors("LiteRT", source):
            outputs = joined(interpreters[size].run(padded), size, widths)
        return outputs[: len(images)]

    values = in_micro_batches(compute, config, device="cpu", width=sum(widths.values()), sizes=_SIZES)
    forward, with_features = forwards(values, widths)
    return RunnableModel(forward, description, output, with_features=with_features)


def _opened(source: str | Path | Checkpoint | ArrayCheckpoint) -> tuple[bytes, ModelDescription]:
    if not isinstance(source, Checkpoint | ArrayCheckpoint) and export_kind(source) == "litert":
        export = open_export(source)
        assert isinstance(export, LitertExport)
        return export.graph, export.description
    model = loaded_arrays(source)
    return litert_bytes(model), model.description
