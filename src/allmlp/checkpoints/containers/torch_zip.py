"""Files of torch.save: a zip archive of storages, and a pickle that describes the tensors as views of them.

The pickle is read as data (torch_pickle.py), never by Python's or torch's unpickler. Its content is checked against the
archive before memory is allocated, and only the storages of the chosen weights are read, not an optimizer's state.
"""

import io
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from allmlp.checkpoints.containers.buffers import make_buffers
from allmlp.checkpoints.containers.torch_objects import StoredTensor, kind_of
from allmlp.checkpoints.containers.torch_pickle import read_pickle
from allmlp.checkpoints.containers.weight_file import WeightFile
from allmlp.errors import CheckpointError
from allmlp.io.display import quote, summarise
from allmlp.io.zip_archive import ZIP_ERRORS, ZipMember, list_members, read_start, seek_to

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["PICKLE", "open_torch"]

PICKLE = "data.pkl"
MAX_PICKLE_BYTES = 4 << 20

FLOATS = ("float32", "float64", "float16", "bfloat16")

# The keys under which training scripts save a model's weights, and the remark on each. The averaged weights come first, as
# in timm: they are the ones that are evaluated.
WRAPPERS = {"state_dict_ema": "its EMA weights", "model_ema": "its EMA weights", "state_dict": "", "model": ""}

# The counter that torch.optim.swa_utils.AveragedModel saves next to the averaged weights.
COUNTER = "n_averaged"

# Views may share a storage or repeat its elements, but must not add up to many times the file's size.
MAX_EXPANSION = 4
MIN_EXPANDED_BYTES = 16 << 20


def open_torch(path: Path) -> WeightFile:
    """List the weights in a file of torch.save: its EMA weights, or else its state dict, which may be the whole file.

    Raises:
        CheckpointError: a TorchScript archive; compressed or missing members; a pickle that would call anything but the
            functions that rebuild tensors; tensors that do not fit their storages; entries that are not tensors.
    """
    members = {member.name: member for member in list_members(path)}
    root = _root(path, members)
    try:
        with path.open("rb") as file:
            value = read_pickle(read_start(file, members[root + PICKLE], MAX_PICKLE_BYTES))
            swapped = _is_swapped(file, members.get(f"{root}byteorder"))
    except ZIP_ERRORS as error:
        raise CheckpointError(f"{path}: {error}.") from error
    state, remark = _choose(path, value)
    storages = _storages(path, state, {name.removeprefix(f"{root}data/"): member for name, member in members.items()})
    return WeightFile(
        path,
        {name: tensor.shape for name, tensor in state.items()},
        lambda: _read(path, state, storages, swapped=swapped),
        remark,
    )


def _root(path: Path, members: Mapping[str, ZipMember]) -> str:
    roots = sorted(name.removesuffix(PICKLE) for name in members if f"/{name}".endswith(f"/{PICKLE}"))
    if len(roots) != 1:
        raise CheckpointError(
            f"{path}: {len(roots)} members are called {PICKLE}; a file of torch.save has exactly one."
        )
    root = roots[0]
    if f"{root}constants.pkl" in members or any(name.startswith(f"{root}code/") for name in members):
        raise CheckpointError(
            f"{path}: a TorchScript archive, which holds a program and is not opened. If you trust it, save its weights: "
            f"torch.save(torch.jit.load(file).state_dict(), new_file)."
        )
    compressed = sorted(member.name for member in members.values() if member.deflated)
    if compressed:
        shown = ", ".join(f"{quote(name)} ({members[name].num_bytes:,} bytes)" for name in compressed[:3])
        raise CheckpointError(
            f"{path}: {len(compressed):,} of its {len(members):,} members are compressed, such as {shown}; "
            "torch.save never compresses."
        )
    if members[root + PICKLE].num_bytes > MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"{path}: {PICKLE} has {members[root + PICKLE].num_bytes:,} bytes; expected at most {MAX_PICKLE_BYTES:,}."
        )
    return root


def _is_swapped(file: io.BufferedReader, member: ZipMember | None) -> bool:
    order = read_start(file, member, 16).decode("ascii") if member else "little"  # torch before 2.0 does not state it
    if order not in ("little", "big"):
        raise ValueError(f"its byte order is {order!a}; expected little or big")
    return order != sys.byteorder


def _choose(path: Path, value: object) -> tuple[dict[str, StoredTensor], str]:
    """Return the weights among what the pickle describes, and a remark on them."""
    found: object = value
    remark, inside = "", ""
    if isinstance(value, dict):
        for wrapper, remark_of_wrapper in WRAPPERS.items():
            if isinstance(value.get(wrapper), dict) and value[wrapper]:
                found, remark, inside = value[wrapper], remark_of_wrapper, f" in {wrapper!r}"
                break
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{path}: it holds {kind_of(found)}, not a state dict as saved by torch.save(model.state_dict(), file)."
        )
    if COUNTER in found:
        found = {name: entry for name, entry in found.items() if name != COUNTER}
        remark = remark or "its averaged weights"
    wrong = [
        f"{quote(name)} ({kind_of(entry)})" for name, entry in found.items() if not isinstance(entry, StoredTensor)
    ]
    wrong += [f"{quote(name)} (not a name)" for name in found if not isinstance(name, str)]
    if wrong:
        raise CheckpointError(
            f"{path}: these entries{inside} are not weights: {summarise(sorted(wrong), limit=20)}. Expected tensors by name, "
            f"at the top level or under {', '.join(map(repr, WRAPPERS))}."
        )
    return found, remark


def _storages(path: Path, state: dict[str, StoredTensor], members: Mapping[str, ZipMember]) -> dict[str, ZipMember]:
    """Return the members of the storages that `state` needs, by key, and check their sizes."""
    needed = {}
    for name, tensor in state.items():
        member, num_bytes = members.get(tensor.key), tensor.num_elements * tensor.itemsize
        if member is None:
            raise CheckpointError(
                f"{path}: the storage {quote(tensor.key)} of {quote(name)} is missing. Copy the file again."
            )
        if member.num_bytes != num_bytes:
            raise CheckpointError(
                f"{path}: the storage of {quote(name)} has {member.num_bytes:,} bytes instead of {num_bytes:,} "
                f"({tensor.num_elements:,} numbers of {tensor.dtype})."
            )
        needed[tensor.key] = member
    size, total = path.stat().st_size, sum(math.prod(tensor.shape) * tensor.itemsize for tensor in state.values())
    if total > MAX_EXPANSION * size + MIN_EXPANDED_BYTES:
        raise CheckpointError(
            f"{path}: a file of {size:,} bytes whose tensors would take {total:,}; weights do not share that much memory."
        )
    return needed


def _read(
    path: Path, state: dict[str, StoredTensor], storages: dict[str, ZipMember], *, swapped: bool
) -> "dict[str, Tensor]":
    wrong = sorted(f"{quote(name)} ({tensor.dtype})" for name, tensor in state.items() if tensor.dtype not in FLOATS)
    if wrong:
        raise CheckpointError(f"{path}: these weights are not floating-point: {', '.join(wrong[:400])}.")
    buffers = dict(zip(storages, make_buffers([member.num_bytes for member in storages.values()]), strict=True))
    try:
        with path.open("rb") as file:
            for key, member in storages.items():
                # The checksum is not reliable: torch.serialization.set_crc32_options(False) leaves it wrong.
                seek_to(file, member)
                if file.readinto(buffers[key].data) != member.num_bytes:
                    raise ValueError(f"{quote(member.name)} is cut short")
    except ZIP_ERRORS as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error}). Copy or download it again.") from error
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
