"""Files of torch.save: a zip archive of storages, and a pickle that describes the tensors as views of them.

The pickle is read as data (torch_pickle.py), never by Python's or torch's unpickler. Its content is checked against the
archive before memory is allocated, and only the storages of the chosen weights are read, not an optimizer's state
(torch_state.py).
"""

import io
import sys
from collections.abc import Mapping
from pathlib import Path

from allmlp.checkpoints.containers.torch_pickle import read_pickle
from allmlp.checkpoints.containers.torch_state import Record, state_file
from allmlp.checkpoints.containers.weight_file import WeightFile, guarded
from allmlp.errors import CheckpointError
from allmlp.io.display import quote
from allmlp.io.zip_archive import ZipMember, list_members, read_start, seek_to

__all__ = ["PICKLE", "open_torch_zip"]

PICKLE = "data.pkl"
MAX_PICKLE_BYTES = 4 << 20


def open_torch_zip(path: Path) -> WeightFile:
    """List the weights in a file of torch.save: its EMA weights, or else its state dict, which may be the whole file.

    Raises:
        CheckpointError: a TorchScript archive; compressed or missing members; a pickle that would call anything but the
            functions that rebuild tensors; tensors that do not fit their storages; entries that are not tensors.
    """
    with guarded(path):
        members = {member.name: member for member in list_members(path)}
        root = _root(path, members)
        with path.open("rb") as file:
            value = read_pickle(read_start(file, members[root + PICKLE], MAX_PICKLE_BYTES))
            swapped = _is_swapped(file, members.get(f"{root}byteorder"))
        records = {name.removeprefix(f"{root}data/"): _record(member) for name, member in members.items()}
        return state_file(path, value, records, swapped=swapped)


def _record(member: ZipMember) -> Record:
    return Record(member.num_bytes, lambda file: seek_to(file, member))


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
