"""`WeightFile`: what a file of weights holds, known before any weight takes memory, whichever container it is."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from allmlp.checkpoints.naming.other_models import describe_unknown_weights
from allmlp.errors import CheckpointError
from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["WeightFile", "is_possible", "open_weights"]

MAX_DIMENSIONS = 16
MAX_NUMBERS = 1 << 48  # also along the other axes of an array without any: NumPy and torch count them

MAX_TENSORS = 20_000  # 390 in H/14

EXPECTED = "expected weights: a .npz, .safetensors or .pth file"


@dataclass(frozen=True)
class WeightFile:
    """A file whose list of tensors was read and checked, and whose tensors were not.

    Attributes:
        path: the file.
        shapes: the shape of every tensor by name, as stored: a Fortran-ordered array has its logical shape.
        read: returns all tensors by name, on the processor, in the stored shape and width (bfloat16, float16, float32
            or float64, in this machine's byte order), not always contiguous; takes the tensors' size of memory.
            Raises CheckpointError: damaged data, tensors that are not floating-point.
        remark: what of the file was taken, for people ("its EMA weights"), or "".
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[], "dict[str, Tensor]"]
    remark: str = ""


def is_possible(shape: Sequence[int]) -> bool:
    """Whether an array may have this shape, far beyond any weight: no size of a hostile file is reckoned with unbounded."""
    return (
        len(shape) <= MAX_DIMENSIONS
        and all(0 <= size <= MAX_NUMBERS for size in shape)
        and math.prod(max(1, size) for size in shape) <= MAX_NUMBERS
    )


def open_weights(path: Path) -> WeightFile:
    """List the tensors of a NumPy .npz, a safetensors or a torch .pth file, told apart by content, never by name.

    Nothing in the file is executed.

    Raises:
        CheckpointError: no regular file, another kind of file (which is named), or one that is damaged or hostile.
    """
    try:
        if not path.exists():
            raise CheckpointError(f"{path}: there is no such file; {EXPECTED}.")
        if not path.is_file():  # a pipe would hang whoever opens it
            raise CheckpointError(f"{path}: not a regular file; {EXPECTED}.")
        with path.open("rb") as file:
            start = file.read(START_BYTES)
        weights = _container(path, start)(path)
    except OSError as error:
        raise CheckpointError(f"{path}: could not be read ({error.strerror or error}).") from error
    if len(weights.shapes) > MAX_TENSORS:
        raise CheckpointError(
            f"{path}: {len(weights.shapes):,} tensors; no Mixer has more than {MAX_TENSORS:,}. "
            f"{describe_unknown_weights(weights.shapes)}"
        )
    return weights


def _container(path: Path, start: bytes) -> Callable[[Path], WeightFile]:
    # These modules need WeightFile: imported here, they and this one can be imported in any order.
    from allmlp.checkpoints.containers.npz import open_npz
    from allmlp.checkpoints.containers.safetensors import open_safetensors
    from allmlp.checkpoints.containers.torch_zip import PICKLE, open_torch
    from allmlp.io.zip_archive import list_members

    if kind_of_file(start) is not FileKind.ZIP:
        return open_safetensors
    names = [member.name for member in list_members(path)]
    if any(name.endswith(".npy") for name in names):
        return open_npz
    return open_torch if any(name == PICKLE or name.endswith(f"/{PICKLE}") for name in names) else open_npz
