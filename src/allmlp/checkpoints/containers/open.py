"""Recognition of a weight file's container, by content and never by name."""

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

from allmlp.checkpoints.containers.npz import open_npz
from allmlp.checkpoints.containers.safetensors import MAX_HEADER_BYTES, open_safetensors
from allmlp.checkpoints.containers.torch_legacy import open_torch_legacy
from allmlp.checkpoints.containers.torch_zip import PICKLE, open_torch_zip
from allmlp.checkpoints.containers.unknown_kinds import describe_archive, describe_file
from allmlp.checkpoints.containers.weight_file import WeightFile, guarded
from allmlp.errors import CheckpointError
from allmlp.io.display import quote
from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file
from allmlp.io.zip_archive import list_members

__all__ = ["open_weights"]

EXPECTED = "expected a weight file (.npz, .safetensors or .pth)"


def open_weights(path: Path) -> WeightFile:
    """List the tensors of a NumPy .npz, safetensors or torch .pth file.

    Nothing in the file is executed.

    Raises:
        CheckpointError: not a regular file, a file of another kind (which the message names), or a damaged or hostile one.
    """
    with guarded(path):
        if not path.exists():
            raise CheckpointError(f"{path}: no such file; {EXPECTED}.")
        if not path.is_file():  # opening a pipe would hang
            raise CheckpointError(f"{path}: not a regular file; {EXPECTED}.")
        with path.open("rb") as file:
            start, end = file.read(START_BYTES), _end(file)
        return _opener(path, start, end)(path)


def _end(file: io.BufferedReader) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    return file.read(8)


def _opener(path: Path, start: bytes, end: bytes) -> Callable[[Path], WeightFile]:
    if _has_safetensors_header(start):
        return open_safetensors
    kind = kind_of_file(start)
    if kind is FileKind.ZIP:
        return _archive_opener(path)
    if kind is FileKind.OLD_TORCH:
        return open_torch_legacy
    if not start:
        raise CheckpointError(f"{path}: an empty file: it has only 0 bytes; {EXPECTED}. Copy or download it again.")
    is_damaged = kind is None and start[8:9] == b"{"  # a safetensors file whose length of the header is wrong
    if not is_damaged and (description := describe_file(kind, start, end)):
        raise CheckpointError(f"{path}: this is {description}.")
    if is_damaged or path.suffix.lower() == ".safetensors":
        return open_safetensors
    raise CheckpointError(
        f"{path}: damaged, or not a weight file: it starts with {quote(start[:16])}. {EXPECTED.capitalize()}."
    )


def _has_safetensors_header(start: bytes) -> bool:
    """Whether the file starts with a length of a header and the header: no other kind of file does."""
    return start[8:9] == b"{" and struct.unpack_from("<Q", start)[0] <= MAX_HEADER_BYTES


def _archive_opener(path: Path) -> Callable[[Path], WeightFile]:
    names = [member.name for member in list_members(path)]
    if any(name.endswith(".npy") for name in names):
        return open_npz
    if any(name == PICKLE or name.endswith(f"/{PICKLE}") for name in names):
        return open_torch_zip
    if description := describe_archive(names):
        raise CheckpointError(f"{path}: this is {description}.")
    return open_npz
