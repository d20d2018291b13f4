"""The state of an arm in training, and the result of a finished training, each in one file without pickle."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from allmlp.errors import CheckpointError
from allmlp.io.atomic_write import write_bytes
from allmlp.io.display import escape

__all__ = ["Progress", "load_finished", "load_snapshot", "save_finished", "save_snapshot"]

_FILE, _FINISHED = "snapshot.safetensors", "finished.safetensors"


@dataclass
class Progress:
    """What training has done so far: `losses` are those since the last score."""

    step: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)


def save_snapshot(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write the state after a step. The file before it is replaced only once this one is complete."""
    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
    content = save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, {"progress": json.dumps(asdict(progress))}
    )
    write_bytes(folder / _FILE, content)


def load_snapshot(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Restore the state that `save_snapshot` wrote; return None, and change nothing, if there is none.

    Raises:
        CheckpointError: the file is damaged or of another network.
    """
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            progress = Progress(**json.loads(file.metadata()["progress"]))
        network.load_state_dict(_below("network/", tensors))
        states: dict[int, dict[str, Any]] = {}
        for name, tensor in _below("optimizer/", tensors).items():
            index, _, key = name.partition("/")
            states.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{escape(path)}: this snapshot is damaged, or of another network. Delete it: the arm then starts again."
        ) from error
    return progress


def save_finished(folder: Path, network: nn.Module, figures: Mapping[str, Any]) -> None:
    """Write the weights of a finished training and its figures, which are JSON values; then remove its snapshot."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_bytes(folder / _FINISHED, save(tensors, {"figures": json.dumps(dict(figures))}))
    (folder / _FILE).unlink(missing_ok=True)


def load_finished(folder: Path, network: nn.Module) -> dict[str, Any] | None:
    """Restore the weights that `save_finished` wrote and return the figures; return None, changing nothing, if there are none.

    Raises:
        CheckpointError: the file is damaged or of another network.
    """
    path = folder / _FINISHED
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            figures = dict(json.loads(file.metadata()["figures"]))
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{escape(path)}: this file is damaged, or of another network. Delete it: the training is then repeated."
        ) from error
    return figures


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
