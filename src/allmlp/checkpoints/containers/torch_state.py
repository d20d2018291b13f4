"""The weights among what a pickle of torch.save describes, and the reading of their storages from the file."""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from allmlp.checkpoints.containers.buffers import make_buffers
from allmlp.checkpoints.containers.torch_objects import StoredTensor, kind_of
from allmlp.checkpoints.containers.weight_file import WeightFile
from allmlp.errors import CheckpointError
from allmlp.io.display import quote, summarise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Record", "state_file"]

FLOATS = ("float32", "float64", "float16", "bfloat16")

# The keys under which training scripts save a model's weights, and the remark on each. The averaged weights come first, as
# in timm: they are the ones that are evaluated.
WRAPPERS = {"state_dict_ema": "its EMA weights", "model_ema": "its EMA weights", "state_dict": "", "model": ""}

# The counter that torch.optim.swa_utils.AveragedModel saves next to the averaged weights.
COUNTER = "n_averaged"

# Views may share a storage or repeat its elements, but must not add up to many times the file's size.
MAX_EXPANSION = 4
MIN_EXPANDED_BYTES = 16 << 20


@dataclass(frozen=True)
class Record:
    """The bytes of a storage: their number, and a function that moves a file to the first of them.

    `seek` raises one of `ZIP_ERRORS` if they are not there.
    """

    num_bytes: int
    seek: Callable[[io.BufferedReader], object]


def state_file(path: Path, value: object, records: Mapping[str, Record], *, swapped: bool) -> WeightFile:
    """List the weights in `value`, what a pickle describes: its EMA weights, or else its state dict.

    Settings of a training next to the weights are left out, and named in the remark.

    Args:
        path: the file, for messages and for reading.
        value: what `read_pickle` returned.
        records: the storages in the file, by their keys.
        swapped: whether the elements are in the other byte order than this machine's.

    Raises:
        CheckpointError: tensors that do not fit their storages, or entries that are not tensors.
    """
    state, remark = _choose(path, value)
    _check_storages(path, state, records)
    return WeightFile(
        path,
        {name: tensor.shape for name, tensor in state.items()},
        lambda names: _read(path, {name: state[name] for name in state if name in names}, records, swapped=swapped),
        remark,
    )


def _choose(path: Path, value: object) -> tuple[dict[str, StoredTensor], str]:
    """Return the weights among what the pickle describes, and a remark on them."""
    found, remark, inside = value, "", ""
    if isinstance(value, dict) and (wrapper := _wrapper(value)) is not None:
        found, remark, inside = value[wrapper], WRAPPERS.get(wrapper, f"its {quote(wrapper)}"), f" in {quote(wrapper)}"
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{path}: it holds {kind_of(found)}, not a state dict as saved by torch.save(model.state_dict(), file)."
        )
    if COUNTER in found:
        found = {name: entry for name, entry in found.items() if name != COUNTER}
        remark = remark or "its averaged weights"
    if not inside and (settings := _settings(found)):
        found = {name: entry for name, entry in found.items() if name not in settings}
        remark = ", ".join(filter(None, (remark, f"without {summarise(sorted(_kinds(settings)))}")))
    wrong = _kinds({name: entry for name, entry in found.items() if not isinstance(entry, StoredTensor)})
    wrong += [f"{quote(name)} (not a name)" for name in found if not isinstance(name, str)]
    if wrong:
        raise CheckpointError(
            f"{path}: these entries{inside} are not weights: {summarise(sorted(wrong), limit=20)}. Expected tensors by name, "
            f"at the top level or under {', '.join(map(repr, WRAPPERS))}."
        )
    return found, remark


def _settings(found: Mapping[object, object]) -> dict[object, object]:
    """Return the entries next to weights that hold no tensors: the settings of a training."""
    if not any(isinstance(entry, StoredTensor) for entry in found.values()):
        return {}
    return {name: entry for name, entry in found.items() if isinstance(name, str) and not _holds_tensors(entry)}


def _holds_tensors(entry: object) -> bool:
    waiting, seen = [entry], set()  # entries may be nested deeply, and occur often
    while waiting:
        value = waiting.pop()
        if isinstance(value, StoredTensor):
            return True
        if id(value) not in seen:
            seen.add(id(value))
            waiting.extend(
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            )
    return False


def _kinds(entries: Mapping[object, object]) -> list[str]:
    return [f"{quote(name)} ({kind_of(entry)})" for name, entry in entries.items()]


def _wrapper(value: Mapping[object, object]) -> str | None:
    """Return the key under which `value` holds the weights: a usual one, or the only one with tensors by name."""
    for wrapper in WRAPPERS:
        if isinstance(value.get(wrapper), dict) and value[wrapper]:
            return wrapper
    states = [key for key, entry in value.items() if isinstance(key, str) and _is_state(entry)]
    return states[0] if len(states) == 1 else None


def _is_state(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and bool(entry)
        and all(isinstance(name, str) and isinstance(tensor, StoredTensor) for name, tensor in entry.items())
    )


def _check_storages(path: Path, state: Mapping[str, StoredTensor], records: Mapping[str, Record]) -> None:
    for name, tensor in state.items():
        record, num_bytes = records.get(tensor.key), tensor.num_elements * tensor.itemsize
        if record is None:
            raise CheckpointError(
                f"{path}: the storage {quote(tensor.key)} of {quote(name)} is missing. Copy the file again."
            )
        if record.num_bytes != num_bytes:
            raise CheckpointError(
                f"{path}: the storage of {quote(name)} has {record.num_bytes:,} bytes instead of {num_bytes:,} "
                f"({tensor.num_elements:,} numbers of {tensor.dtype})."
            )
    size, total = path.stat().st_size, sum(math.prod(tensor.shape) * tensor.itemsize for tensor in state.values())
    if total > MAX_EXPANSION * size + MIN_EXPANDED_BYTES:
        raise CheckpointError(
            f"{path}: a file of {size:,} bytes whose tensors would take {total:,}; weights do not share that much memory."
        )


def _read(
    path: Path, state: Mapping[str, StoredTensor], records: Mapping[str, Record], *, swapped: bool
) -> "dict[str, Tensor]":
    wrong = sorted(f"{quote(name)} ({tensor.dtype})" for name, tensor in state.items() if tensor.dtype not in FLOATS)
    if wrong:
        raise CheckpointError(f"{path}: these weights are not floating-point: {', '.join(wrong[:400])}.")
    keys = list(dict.fromkeys(tensor.key for tensor in state.values()))
    buffers = dict(zip(keys, make_buffers([records[key].num_bytes for key in keys]), strict=True))
    with path.open("rb") as file:
        for key in keys:
            # A checksum is not reliable: torch.serialization.set_crc32_options(False) leaves it wrong.
            records[key].seek(file)
            if file.readinto(buffers[key].data) != records[key].num_bytes:
                raise ValueError(f"the storage {quote(key)} is cut short")
    if swapped:
        for key, itemsize in {tensor.key: tensor.itemsize for tensor in state.values()}.items():
            buffers[key].view(f"u{itemsize}").byteswap(inplace=True)
    return {name: _view(buffers[tensor.key], tensor) for name, tensor in state.items()}


def _view(buffer: "NDArray[np.uint8]", tensor: StoredTensor) -> "Tensor":
    import torch

    dtype: torch.dtype = getattr(torch, tensor.dtype)
    if 0 in tensor.shape:
        return torch.empty(tensor.shape, dtype=dtype)
    return torch.from_numpy(buffer).view(dtype).as_strided(tensor.shape, tensor.stride, tensor.offset)
