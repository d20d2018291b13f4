"""Our own format: a folder with model.safetensors and config.json."""

import dataclasses
from pathlib import Path
from typing import Any

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.containers.safetensors import open_safetensors
from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILE
from allmlp.checkpoints.validation import check_shapes
from allmlp.config import from_dict, to_dict
from allmlp.data import Preprocessing
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.atomic_write import to_json, write_together
from allmlp.io.json_object import read_json_object
from allmlp.model import MixerConfig, parameter_shapes

__all__ = ["FORMAT", "read_native", "save_checkpoint"]

FORMAT = "allmlp checkpoint"
VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Description:
    """config.json."""

    format: str
    version: int
    model: MixerConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str
    temperature: float = 1.0


def save_checkpoint(checkpoint: Checkpoint, directory: str | Path) -> Path:
    """Write a checkpoint as `directory`/model.safetensors and `directory`/config.json and return the folder.

    Both files reach the disk before either replaces an old one, so that a full disk leaves the old checkpoint.

    Raises:
        AllmlpError: the folder cannot be written; what was there stays.
    """
    from safetensors.torch import save

    directory = Path(directory)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in checkpoint.weights.items()}
    description = _Description(
        format=FORMAT,
        version=VERSION,
        model=checkpoint.config,
        preprocessing=checkpoint.preprocessing,
        class_names=checkpoint.class_names,
        source=checkpoint.source,
        temperature=checkpoint.temperature,
    )
    values = to_dict(description)
    if checkpoint.temperature == 1.0:
        del values["temperature"]  # as it was written before there was one
    write_together(
        {
            directory / WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
            directory / CONFIG_FILE: to_json(values),
        }
    )
    return directory


def read_native(directory: Path) -> Checkpoint:
    """Read the checkpoint in a folder.

    Raises:
        CheckpointError: a damaged or incomplete file, or weights that do not fit.
    """
    description = _read_description(directory / CONFIG_FILE)
    weights = _read_weights(directory / WEIGHTS_FILE, description.model)
    try:
        return Checkpoint(
            config=description.model,
            weights=weights,
            preprocessing=description.preprocessing,
            class_names=description.class_names,
            source=description.source,
            temperature=description.temperature,
        )
    except CheckpointError as error:
        raise CheckpointError(f"{directory / CONFIG_FILE}: {error}") from error


def _read_description(path: Path) -> _Description:
    values = read_json_object(path)
    if values.get("format") != FORMAT:
        raise CheckpointError(f'{path}: not a configuration of allmlp (it lacks "format": "{FORMAT}").')
    if values.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: version {str(values.get('version'))[:80]} of the format; "
            f"this allmlp reads version {VERSION}. Update allmlp."
        )
    try:
        return from_dict(_Description, values, where=str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    except RecursionError as error:
        raise CheckpointError(f"{path}: lists in lists too deep; this is no checkpoint's configuration.") from error


def _read_weights(path: Path, config: MixerConfig) -> dict[str, Any]:
    if not path.exists():
        raise CheckpointError(
            f"{path}: the weights are missing. A checkpoint folder holds {WEIGHTS_FILE} and {CONFIG_FILE}."
        )
    file = open_safetensors(path)
    check_shapes(parameter_shapes(config), file.shapes, where=str(path))  # before any weight takes memory
    return file.read()
