"""What `allmlp bench --tune` measured on this machine, remembered in allmlp's cache folder.

There is one file per machine and shape of Mixer. The machine is the processor, its instruction sets, the number of threads and
the versions of the engines; a file that was written on another one, or that is damaged, is ignored. Nothing here needs torch.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import tempfile
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allmlp.errors import AllmlpError, ConfigError
from allmlp.exports import ExportInfo
from allmlp.hardware.num_compute_threads import num_compute_threads
from allmlp.hardware.processor import processor_facts
from allmlp.inference.engine_settings import EngineSettings
from allmlp.io.atomic_write import reason_of, write_json
from allmlp.io.cache_folder import cache_folder
from allmlp.model import MixerConfig

__all__ = ["Tuned", "check_tunable", "has_tuned", "machine", "read_tuned", "tuned_as", "write_tuned"]

_VERSION = 3
_MAX_BYTES = 1 << 16
_ENGINES = ("torch", "onnx", "onnxruntime", "openvino", "ai-edge-litert")  # onnx writes what the engines read
_SHAPE = (
    "image_size",
    "patch_size",
    "num_blocks",
    "hidden_dim",
    "tokens_mlp_dim",
    "channels_mlp_dim",
    "num_classes",
    "gelu",
)
_INSTRUCTION_SETS = re.compile(r"avx\w*|amx\w*|asimd\w*|sve\w*|i8mm|bf16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned:
    """The speed of the backends for one shape of Mixer on this machine.

    Attributes:
        seconds_per_image: by backend, the fastest first; only backends whose logits are those of the first up to rounding.
        settings: by backend, the fastest of those that were compared; only for backends that have settings.
        measured: the day, as YYYY-MM-DD.
    """

    seconds_per_image: Mapping[str, float]
    measured: str
    settings: Mapping[str, EngineSettings] = dataclasses.field(default_factory=dict)


def machine(root: Path = Path("/")) -> dict[str, Any]:
    """Return what the speed of an engine depends on. `root` is the folder that holds proc/ and sys/."""
    facts = processor_facts(root)
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "instruction_sets": sorted({flag for flag in flags if _INSTRUCTION_SETS.fullmatch(flag)}),
        "num_threads": num_compute_threads(root),
        "versions": {name: version for name in _ENGINES if (version := _version(name))},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def has_tuned() -> bool:
    """Return whether anything was ever tuned here."""
    folder = _folder()
    try:
        return folder is not None and next(folder.glob("*.json"), None) is not None
    except OSError:
        return False


def tuned_as(info: ExportInfo) -> str:
    """Return the precision under which tuning remembers the file of an export.

    Engines round int8 differently, and which of them answer alike was measured of a single file: so its digest is part of it.
    """
    if info.quantisation is None:
        return info.precision
    content = json.dumps([info.weights_sha256, dataclasses.asdict(info.quantisation)], sort_keys=True)
    return f"{info.precision} {hashlib.sha256(content.encode()).hexdigest()[:32]}"


def read_tuned(config: MixerConfig, precision: str = "float32") -> Tuned | str | None:
    """Return what was measured for a shape on this machine; None if nothing was; a sentence if the file is unusable.

    `precision` is that of the weights: "float32", or what `tuned_as` returns.
    """
    here, shape = machine(), _shape(config, precision)
    path = _path(here, shape)
    if path is None:
        return None
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("too large")
        content = json.loads(path.read_bytes())
        if (content["version"], content["machine"], content["shape"]) != (_VERSION, here, shape):
            raise ValueError("of another machine or shape")
        seconds = {str(name): float(value) for name, value in content["seconds_per_image"].items()}
        if not seconds or not all(math.isfinite(value) and value > 0 for value in seconds.values()):
            raise ValueError("times that are not positive numbers")
        ordered = dict(sorted(seconds.items(), key=lambda item: item[1]))
        settings = {str(name): EngineSettings.from_dict(values) for name, values in content["settings"].items()}
        return Tuned(seconds_per_image=ordered, measured=str(content["measured"])[:10], settings=settings)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return f"{path} is damaged or was not written on this machine, and is ignored; allmlp bench --tune writes it again."


def check_tunable() -> None:
    """Check that a measurement can be remembered, before it takes a minute.

    Raises:
        ConfigError: the cache folder is unknown or cannot be written.
    """
    folder = _folder()
    if folder is None:
        raise ConfigError("There is no folder to remember this in. Set ALLMLP_HOME to a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # File modes are not enough: the user may be root, or the disk read-only. Nor is an empty file, for which even a full
        # disk has room. The bytes are random, because some file systems store others in less space.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(os.urandom(_MAX_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{folder}: the fastest backend could not be remembered here ({reason_of(error)}). Set ALLMLP_HOME to a folder that "
        "can be written."
    )


def write_tuned(
    config: MixerConfig,
    seconds_per_image: Mapping[str, float],
    settings: Mapping[str, EngineSettings] | None = None,
    precision: str = "float32",
    *,
    tried: Collection[str] | None = None,
) -> Path:
    """Remember a measurement and return the path of its file.

    `tried` names the backends that this measurement is of; what was remembered of others stays. None stands for all.

    Raises:
        ConfigError: the cache folder is unknown or cannot be written.
    """
    from filelock import FileLock  # not at the top: only writing needs it

    check_tunable()
    here, shape = machine(), _shape(config, precision)
    path = _path(here, shape)
    assert path is not None  # `check_tunable` has written there
    try:
        with FileLock(f"{path}.lock"):  # another process may add what it has measured
            before = None if tried is None else read_tuned(config, precision)
            content = _joined(seconds_per_image, settings or {}, before, tried)
            return write_json(path, {"version": _VERSION, "machine": here, "shape": shape, **content})
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def _joined(
    seconds: Mapping[str, float],
    settings: Mapping[str, EngineSettings],
    before: Tuned | str | None,
    tried: Collection[str] | None,
) -> dict[str, Any]:
    """Return a measurement as JSON, with what was remembered `before` of backends that are not in `tried`."""
    if tried is not None and isinstance(before, Tuned):
        seconds = {name: each for name, each in before.seconds_per_image.items() if name not in tried} | dict(seconds)
        settings = {name: each for name, each in before.settings.items() if name not in tried} | dict(settings)
    return {
        "seconds_per_image": dict(seconds),
        "settings": {name: each.to_dict() for name, each in settings.items()},
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _shape(config: MixerConfig, precision: str) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in _SHAPE} | {"precision": precision}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _folder() -> Path | None:
    try:
        return cache_folder() / "tuned"
    except AllmlpError:  # the user has no home folder
        return None


def _path(here: Mapping[str, Any], shape: Mapping[str, Any]) -> Path | None:
    folder = _folder()
    key = hashlib.sha256(json.dumps([here, shape], sort_keys=True).encode()).hexdigest()[:32]
    return None if folder is None else folder / f"{key}.json"
