"""Our own format: a folder with model.safetensors and config.json. A run folder stands for its best checkpoint."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from allmlp.checkpoints.checkpoint import Checkpoint, check_shapes
from allmlp.checkpoints.safetensors_header import read_shapes
from allmlp.config import from_dict, to_dict
from allmlp.data import Preprocessing
from allmlp.errors import CheckpointError, ConfigError
from allmlp.files import to_json, write_together
from allmlp.model import MixerConfig

__all__ = ["load_checkpoint", "save_checkpoint"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT = "allmlp checkpoint"
VERSION = 1

MAX_CONFIG_BYTES = 16 << 20  # 21,843 class names take half a megabyte


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Description:
    """config.json."""

    format: str
    version: int
    model: MixerConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str


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
    )
    write_together(
        {
            directory / WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
            directory / CONFIG_FILE: to_json(to_dict(description)),
        }
    )
    return directory


def load_checkpoint(source: str | Path) -> Checkpoint:
    """Read a checkpoint folder, or a run folder (its best checkpoint), or one of the two files in a checkpoint folder.

    Raises:
        CheckpointError: no such place, a damaged or incomplete file, weights that are not finite or do not fit.
    """
    directory = _find(Path(source))
    description = _read_description(directory / CONFIG_FILE)
    weights = _read_weights(directory / WEIGHTS_FILE, description.model)
    not_finite = sorted(name for name, weight in weights.items() if not weight.isfinite().all())
    if not_finite:
        raise CheckpointError(f"{directory / WEIGHTS_FILE}: NaN or infinity in {', '.join(not_finite)}.")
    try:
        return Checkpoint(
            config=description.model,
            weights=weights,
            preprocessing=description.preprocessing,
            class_names=description.class_names,
            source=description.source,
        )
    except CheckpointError as error:
        raise CheckpointError(f"{directory / CONFIG_FILE}: {error}") from error


def _find(source: Path) -> Path:
    try:
        if not source.exists():
            raise CheckpointError(
                f"{source}: there is no such checkpoint; expected a run folder or a checkpoint folder."
            )
        candidates = [source, source / "checkpoints" / "best", source / "best"]
        if source.name in (WEIGHTS_FILE, CONFIG_FILE) and not source.is_dir():
            candidates = [source.parent]
        for candidate in candidates:
            if (candidate / CONFIG_FILE).is_file():
                return candidate
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise CheckpointError(f"{source}: could not be read ({error.strerror or error}).") from error
    raise CheckpointError(
        f"{source}: not a checkpoint: there is no {CONFIG_FILE} beside {WEIGHTS_FILE} in it. "
        f"Expected a run folder (with checkpoints/best) or a checkpoint folder."
    )


def _read_description(path: Path) -> _Description:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise CheckpointError(
                f"{path}: larger than {MAX_CONFIG_BYTES >> 20} MiB; this is no checkpoint's configuration."
            )
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: could not be read as JSON: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
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
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.exists():
        raise CheckpointError(
            f"{path}: the weights are missing. A checkpoint folder holds {WEIGHTS_FILE} and {CONFIG_FILE}."
        )
    check_shapes(config, read_shapes(path), where=str(path))  # before any weight takes memory
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: damaged, cut short, or not a safetensors file ({error}). Copy or train it anew."
        ) from error
