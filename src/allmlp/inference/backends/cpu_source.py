"""What the backends for exports share: their sources, and the check of the device and the precision."""

import os
from pathlib import Path

from allmlp.checkpoints import Checkpoint, as_arrays, load_arrays
from allmlp.errors import ConfigError
from allmlp.exports import Export, export_kind, onnx_bytes, open_export, parse_onnx
from allmlp.io.display import quote

__all__ = ["check_options", "is_openable", "opened"]


def is_openable(source: object) -> bool:
    """Return whether a source is a path, a name or a checkpoint."""
    return isinstance(source, str | os.PathLike | Checkpoint)


def check_options(backend: str, device: str, precision: str) -> None:
    """Check that the device is the CPU and the precision float32.

    Raises:
        ConfigError: it is another one.
    """
    if device not in ("auto", "cpu"):
        raise ConfigError(
            f"device is {quote(device)}, but the backend {backend} computes on the CPU: use 'auto' or 'cpu'."
        )
    if precision not in ("auto", "float32"):
        raise ConfigError(f"precision is {quote(precision)}, but the backend {backend} computes in 'float32'.")


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
