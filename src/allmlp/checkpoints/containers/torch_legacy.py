"""Files of torch.save from before 1.6: five pickles one after the other, then the storages.

The pickles are a magic number, the version of the format, sizes of C types, the object, and the keys of the storages in
their order. A storage is its number of elements, in 8 bytes, and the elements; all are little-endian.

Source: torch/serialization.py (`_legacy_save`, `_legacy_load`).
"""

import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from allmlp.checkpoints.containers.torch_objects import Storage
from allmlp.checkpoints.containers.torch_pickle import read_pickles
from allmlp.checkpoints.containers.torch_state import Record, state_file
from allmlp.checkpoints.containers.weight_file import WeightFile, guarded
from allmlp.errors import CheckpointError
from allmlp.io.display import quote

__all__ = ["open_torch_legacy"]

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
MAX_PICKLE_BYTES = 4 << 20  # of all pickles


def open_torch_legacy(path: Path) -> WeightFile:
    """List the weights in a file that torch before 1.6 wrote, or `torch.save(..., _use_new_zipfile_serialization=False)`.

    Raises:
        CheckpointError: pickles that are damaged, too long, or would call anything but the functions that rebuild tensors;
            storages that are missing or do not fit the tensors; entries that are not tensors.
    """
    with guarded(path):
        with path.open("rb") as file:
            pickles = read_pickles(file.read(MAX_PICKLE_BYTES), 5)
            magic, version, _, value, keys = pickles.values
            if magic != MAGIC or version != VERSION:
                raise CheckpointError(
                    f"{path}: version {quote(version)} of torch's format from before 1.6; expected {VERSION}. Copy it again, "
                    "or load it with torch.load and save it again with torch.save."
                )
            records = _records(file, pickles.num_bytes, keys, pickles.storages)
        return state_file(path, value, records, swapped=sys.byteorder != "little")


def _records(file: io.BufferedReader, start: int, keys: object, storages: set[Storage]) -> dict[str, Record]:
    """Return where the storages are, by key, after a check of their number of elements."""
    known = {storage.key: storage for storage in storages}
    if not isinstance(keys, list) or len(known) != len(storages) or len(keys) != len(known):
        raise ValueError("its list of storages does not match its tensors")
    end = file.seek(0, io.SEEK_END)
    records = {}
    for key in keys:
        storage = known.pop(key, None) if isinstance(key, str) else None
        if storage is None:
            raise ValueError(f"its list of storages holds {quote(key)}, which no tensor uses")
        file.seek(start)
        (num_elements,) = struct.unpack("<q", file.read(8))
        if num_elements != storage.num_elements:
            raise ValueError(
                f"the storage {quote(key)} has {num_elements:,} elements instead of {storage.num_elements:,}"
            )
        records[storage.key] = Record(storage.num_bytes, _seek_to(start + 8))
        start += 8 + storage.num_bytes
        if start > end:
            raise ValueError(f"the storage {quote(key)} is cut short: it ends {start - end:,} bytes after the file")
    return records


def _seek_to(offset: int) -> Callable[[io.BufferedReader], object]:
    return lambda file: file.seek(offset)
