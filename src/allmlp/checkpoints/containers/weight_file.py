"""`WeightFile`: the list of tensors in a file, known before any tensor takes memory, whichever the container."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MAX_DIMENSIONS", "MAX_NUMBERS", "WeightFile", "is_possible"]

MAX_DIMENSIONS = 16
MAX_NUMBERS = 1 << 48  # also along the other axes of an array without any: NumPy and torch count them


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
    """Whether an array may have this shape: sizes from an untrusted file are bounded before any arithmetic."""
    return (
        len(shape) <= MAX_DIMENSIONS
        and all(0 <= size <= MAX_NUMBERS for size in shape)
        and math.prod(max(1, size) for size in shape) <= MAX_NUMBERS
    )
