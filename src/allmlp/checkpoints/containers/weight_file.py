"""`WeightFile`: the tensors that a file of any container lists, known before any of them takes memory."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MAX_DIMENSIONS", "MAX_ELEMENTS", "WeightFile", "is_valid_shape"]

MAX_DIMENSIONS = 16
MAX_ELEMENTS = 1 << 48  # also of the other axes of an empty array: NumPy and torch multiply them


@dataclass(frozen=True)
class WeightFile:
    """A file whose list of tensors was read and checked, but not the tensors themselves.

    Attributes:
        path: the file.
        shapes: the shape of every tensor by name, as stored: a Fortran-ordered array has its logical shape.
        read: returns all tensors by name, on the CPU, in the stored shape and width (bfloat16, float16, float32 or
            float64), in this machine's byte order, not always contiguous; takes as much memory as the tensors do.
            Raises CheckpointError: damaged data, or tensors that are not floating-point.
        remark: which part of the file was taken, in words ("its EMA weights"), or "".
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[], "dict[str, Tensor]"]
    remark: str = ""


def is_valid_shape(shape: Sequence[int]) -> bool:
    """Whether an array may have this shape: sizes from an untrusted file are bounded before any arithmetic."""
    return (
        len(shape) <= MAX_DIMENSIONS
        and all(0 <= size <= MAX_ELEMENTS for size in shape)
        and math.prod(max(1, size) for size in shape) <= MAX_ELEMENTS
    )
