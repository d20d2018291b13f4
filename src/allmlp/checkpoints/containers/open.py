"""Opening a file of weights: its container is recognised by content, never by name."""

from collections.abc import Callable
from pathlib import Path

from allmlp.checkpoints.containers.npz import open_npz
from allmlp.checkpoints.containers.safetensors import open_safetensors
from allmlp.checkpoints.containers.torch_zip import PICKLE, open_torch
from allmlp.checkpoints.containers.weight_file import WeightFile
from allmlp.errors import CheckpointError
from allmlp.io.zip_archive import list_members

__all__ = ["open_weights"]

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # with members, without any

EXPECTED = "expected weights: a .npz, .safetensors or .pth file"


def open_weights(path: Path) -> WeightFile:
    """List the tensors of a NumPy .npz, a safetensors or a torch .pth file.

    Nothing in the file is executed.

    Raises:
        CheckpointError: not a regular file, another kind of file (which is named), or a damaged or hostile one.
    """
    try:
        if not path.exists():
            raise CheckpointError(f"{path}: there is no such file; {EXPECTED}.")
        if not path.is_file():  # a pipe would hang whoever opens it
            raise CheckpointError(f"{path}: not a regular file; {EXPECTED}.")
        with path.open("rb") as file:
            start = file.read(4)
        return _opener(path, start)(path)
    except OSError as error:
        raise CheckpointError(f"{path}: could not be read ({error.strerror or error}).") from error


def _opener(path: Path, start: bytes) -> Callable[[Path], WeightFile]:
    if start not in ZIP_STARTS:
        return open_safetensors
    names = [member.name for member in list_members(path)]
    if any(name.endswith(".npy") for name in names):
        return open_npz
    return open_torch if any(name == PICKLE or name.endswith(f"/{PICKLE}") for name in names) else open_npz
