"""Our own format: a folder with model.safetensors and config.json, each with a digest of its content."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.containers.open import open_weights
from allmlp.checkpoints.containers.safetensors import read_arrays
from allmlp.checkpoints.containers.weight_file import WeightFile
from allmlp.checkpoints.description import ModelDescription
from allmlp.checkpoints.formats.digests import (
    check_config,
    check_weights,
    is_digested,
    with_digest,
    write_weights,
)
from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILE
from allmlp.checkpoints.validation import check_shapes
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.atomic_write import to_json, write_together
from allmlp.io.display import quote
from allmlp.io.path_problem import path_text
from allmlp.model import MixerConfig, parameter_shapes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["read_native", "read_native_arrays", "save_checkpoint"]


def save_checkpoint(checkpoint: Checkpoint, directory: str | Path) -> Path:
    """Write a checkpoint as `directory`/model.safetensors and `directory`/config.json and return the folder.

    Both files are on disk before either replaces an old one, so a full disk leaves the old checkpoint intact. Each file
    holds its SHA-256, by which damage is found when it is read (formats/digests.py).

    Raises:
        ConfigError: not a `Checkpoint`, or not a path.
        AllmlpError: the folder cannot be written; an existing checkpoint stays.
    """
    if not isinstance(checkpoint, Checkpoint):
        raise ConfigError(
            f"save_checkpoint takes a Checkpoint, not {type(checkpoint).__name__}. To save a module, make one with "
            "Checkpoint.from_module(module, like=checkpoint), where `checkpoint` is the one that its training started from."
        )
    if (path := path_text(directory)) is None:
        raise ConfigError(f"The folder of a checkpoint is {quote(directory)}; expected a path.")
    directory = Path(path)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in checkpoint.weights.items()}
    write_together(
        {
            directory / WEIGHTS_FILE: lambda file: write_weights(file, weights),
            directory / CONFIG_FILE: to_json(with_digest(checkpoint.description.to_json_object())),
        }
    )
    return directory


def read_native(directory: Path, values: Mapping[str, Any]) -> Checkpoint:
    """Read the checkpoint in a folder; `values` is the content of its config.json.

    Raises:
        CheckpointError: a file is damaged, incomplete or changed since it was written, or the weights do not fit.
    """
    path = directory / CONFIG_FILE
    description, file = _open_checked(directory, values)
    try:
        return Checkpoint(description=description, weights=file.read())
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_native_arrays(
    directory: Path, values: Mapping[str, Any]
) -> "tuple[ModelDescription, dict[str, NDArray[np.float32]]]":
    """Read the checkpoint in a folder as NumPy arrays in float32, without torch.

    Raises:
        CheckpointError: as `read_native`.
    """
    description, file = _open_checked(directory, values)
    return description, read_arrays(file.path)


def _open_checked(directory: Path, values: Mapping[str, Any]) -> tuple[ModelDescription, WeightFile]:
    """Return the description and the weight file of a folder, whose shapes and digests are right."""
    path = directory / CONFIG_FILE
    description = ModelDescription.from_json_object(values, where=str(path))
    file = _open_weights(directory / WEIGHTS_FILE, description.config)
    if is_digested(values):
        check_config(values, where=str(path))
        check_weights(file.path)
    return description, file


def _open_weights(path: Path, config: MixerConfig) -> WeightFile:
    if not path.exists():
        raise CheckpointError(
            f"{path}: the weights are missing. A checkpoint folder holds {WEIGHTS_FILE} and {CONFIG_FILE}."
        )
    file = open_weights(path)
    check_shapes(parameter_shapes(config), file.shapes, where=str(path))  # before they take memory
    return file
