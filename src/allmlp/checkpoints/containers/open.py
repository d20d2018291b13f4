"""Recognition of a weight file's container, by content and never by name."""

from collections.abc import Callable
from pathlib import Path

from allmlp.checkpoints.containers.npz import open_npz
from allmlp.checkpoints.containers.safetensors import open_safetensors
from allmlp.checkpoints.containers.torch_zip import PICKLE, open_torch
from allmlp.checkpoints.containers.weight_file import WeightFile
from allmlp.errors import CheckpointError
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
    try:
        if not path.exists():
            raise CheckpointError(f"{path}: no such file; {EXPECTED}.")
        if not path.is_file():  # opening a pipe would hang
            raise CheckpointError(f"{path}: not a regular file; {EXPECTED}.")
        with path.open("rb") as file:
            start = file.read(START_BYTES)
        return _opener(path, start)(path)
    except OSError as error:
        raise CheckpointError(f"{path}: could not be read ({error.strerror or error}).") from error


def _opener(path: Path, start: bytes) -> Callable[[Path], WeightFile]:
    if kind_of_file(start) is not FileKind.ZIP:
        return open_safetensors
    names = [member.name for member in list_members(path)]
    if any(name.endswith(".npy") for name in names):
        return open_npz
    return open_torch if any(name == PICKLE or name.endswith(f"/{PICKLE}") for name in names) else open_npz
