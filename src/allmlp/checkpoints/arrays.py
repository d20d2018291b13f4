"""Weights as NumPy arrays, for code that does not need torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.description import ModelDescription
from allmlp.errors import CheckpointError
from allmlp.io.display import summarise

if TYPE_CHECKING:
    from torch import Tensor

    from allmlp.io.http_download import ReportProgress

__all__ = ["ArrayCheckpoint", "as_arrays", "load_arrays"]


class ArrayCheckpoint(NamedTuple):
    """A checkpoint whose weights are NumPy arrays in float32, by the names and in the shapes of `Checkpoint.weights`."""

    description: ModelDescription
    weights: Mapping[str, NDArray[np.float32]]
    remarks: tuple[str, ...] = ()


def load_arrays(source: str | Path, *, report_progress: "ReportProgress | None" = None) -> ArrayCheckpoint:
    """Load a Mixer from any source that `load_checkpoint` takes; run folders and our own folders are read without torch.

    `report_progress` takes the number of bytes downloaded so far and the total.

    Raises:
        CheckpointError, ConfigError: as `load_checkpoint`.
    """
    # Loaded here: who only opens an export needs none of the sources and formats of checkpoints.
    from allmlp.checkpoints.formats.native import read_native_arrays
    from allmlp.checkpoints.load import load_for_size
    from allmlp.checkpoints.sources.resolve import AllmlpFolder, resolve_source

    if isinstance(source, str | Path):  # `load_for_size` takes the other forms of a path, or refuses them
        resolved = resolve_source(source, report_progress=report_progress)
        if isinstance(resolved, AllmlpFolder):
            description, weights = read_native_arrays(resolved.folder, resolved.values)
            _check_finite(weights, where=str(resolved.weights))
            return ArrayCheckpoint(description, weights)
    return as_arrays(load_for_size(source, None, report_progress=report_progress))


def as_arrays(checkpoint: Checkpoint) -> ArrayCheckpoint:
    """Return a checkpoint with its weights as arrays. Float32 weights on the CPU are shared, not copied."""
    weights = {name: _array(weight) for name, weight in checkpoint.weights.items()}
    return ArrayCheckpoint(checkpoint.description, weights, checkpoint.remarks)


def _array(weight: "Tensor") -> NDArray[np.float32]:
    array: NDArray[np.float32] = weight.detach().cpu().float().numpy()
    return array


def _check_finite(weights: Mapping[str, NDArray[np.float32]], *, where: str) -> None:
    not_finite = sorted(name for name, weight in weights.items() if not np.isfinite(weight).all())
    if not_finite:
        raise CheckpointError(f"{where}: NaN or infinity in {summarise(not_finite, limit=400)}.")
