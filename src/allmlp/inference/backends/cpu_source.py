"""What the backends for exports share: their sources, their errors, and the checks of options and outputs."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, as_arrays, load_arrays
from allmlp.errors import AllmlpError, CheckpointError, ConfigError
from allmlp.exports import Export, export_kind, onnx_bytes, open_export, parse_onnx
from allmlp.io.display import escape, quote, shorten

__all__ = ["check_options", "check_outputs", "engine_errors", "is_openable", "opened"]


def is_openable(source: object) -> bool:
    """Return whether a source is a path, a name or a checkpoint."""
    return isinstance(source, str | os.PathLike | Checkpoint)


def check_options(backend: str, device: str, precision: str, precisions: Sequence[str] = ("float32",)) -> None:
    """Check that the device is the CPU, and the precision one of `precisions` or "auto".

    Raises:
        ConfigError: it is another one.
    """
    if device not in ("auto", "cpu"):
        raise ConfigError(
            f"device is {quote(device)}, but the backend {backend} computes on the CPU: use 'auto' or 'cpu'."
        )
    if precision not in ("auto", *precisions):
        known = " and ".join(f"'{name}'" for name in precisions)
        advice = " The backends eager, compiled and openvino have it." if precision == "bfloat16" else ""
        raise ConfigError(f"precision is {quote(precision)}, but the backend {backend} computes in {known}.{advice}")


def opened(source: str | Path | Checkpoint) -> Export:
    """Return an export; a checkpoint is written as ONNX in memory.

    Raises:
        CheckpointError: nothing usable at `source`.
        MissingExtraError: a checkpoint, and onnx is not installed.
    """
    if export_kind(source) is not None:
        assert not isinstance(source, Checkpoint)
        return open_export(source)
    model = as_arrays(source) if isinstance(source, Checkpoint) else load_arrays(source)
    return parse_onnx(onnx_bytes(model), where=model.description.source)


@contextlib.contextmanager
def engine_errors(engine: str, source: object) -> Iterator[None]:
    """Turn any exception of an engine into a CheckpointError: each has types of its own, and a source may be untrusted.

    Raises:
        CheckpointError: the block raised an exception other than an AllmlpError.
    """
    try:
        yield
    except AllmlpError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{shorten(escape(source), 300)}: {engine} cannot run it ({shorten(escape(error), 300)}). Export the checkpoint "
            "again."
        ) from error


def check_outputs(outputs: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Raise a ValueError if outputs have another shape or type than the description says."""
    if outputs.shape != shape or outputs.dtype != np.float32:
        raise ValueError(f"its outputs are {outputs.dtype} {outputs.shape}, not float32 {shape}")
