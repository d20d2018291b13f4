"""Our own format: a folder with model.safetensors and config.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.containers.open import open_weights
from allmlp.checkpoints.description import ModelDescription
from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILE
from allmlp.checkpoints.validation import check_shapes
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.atomic_write import to_json, write_together
from allmlp.model import MixerConfig, parameter_shapes

__all__ = ["read_native", "save_checkpoint"]


def save_checkpoint(checkpoint: Checkpoint, directory: str | Path) -> Path:
    """Write a checkpoint as `directory`/model.safetensors and `directory`/config.json and return the folder.

    Both files are on disk before either replaces an old one, so a full disk leaves the old checkpoint intact.

    Raises:
        ConfigError: not a `Checkpoint`.
        AllmlpError: the folder cannot be written; an existing checkpoint stays.
    """
    if not isinstance(checkpoint, Checkpoint):
        raise ConfigError(
            f"save_checkpoint takes a Checkpoint, not {type(checkpoint).__name__}. To save a module, make one with "
            "Checkpoint.from_module(module, like=checkpoint), where `checkpoint` is the one that its training started from."
        )
    from safetensors.torch import save

    directory = Path(directory)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in checkpoint.weights.items()}
    write_together(
        {
            directory / WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
            directory / CONFIG_FILE: to_json(checkpoint.description.to_json_object()),
        }
    )
    return directory


def read_native(directory: Path, values: Mapping[str, Any]) -> Checkpoint:
    """Read the checkpoint in a folder; `values` is the content of its config.json.

    Raises:
        CheckpointError: a file is damaged or incomplete, or the weights do not fit.
    """
    path = directory / CONFIG_FILE
    description = ModelDescription.from_json_object(values, where=str(path))
    weights = _read_weights(directory / WEIGHTS_FILE, description.config)
    try:
        return Checkpoint(description=description, weights=weights)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_weights(path: Path, config: MixerConfig) -> dict[str, Any]:
    if not path.exists():
        raise CheckpointError(
            f"{path}: the weights are missing. A checkpoint folder holds {WEIGHTS_FILE} and {CONFIG_FILE}."
        )
    file = open_weights(path)
    check_shapes(parameter_shapes(config), file.shapes, where=str(path))  # before they take memory
    return file.read()
