"""`WeightFile`: the tensors that a file of any container lists, known before any of them takes memory."""

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from allmlp.errors import AllmlpError, CheckpointError, shortage
from allmlp.io.display import escape, shorten

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MAX_DIMENSIONS", "MAX_ELEMENTS", "RefusedError", "WeightFile", "guarded", "is_valid_shape"]

MAX_DIMENSIONS = 16
MAX_ELEMENTS = 1 << 48  # also of the other axes of an empty array: NumPy and torch multiply them


class RefusedError(ValueError):
    """A file that may be whole, but holds what is never read: another copy would not help."""


@dataclass(frozen=True)
class WeightFile:
    """A file whose list of tensors was read and checked, but not the tensors themselves.

    Attributes:
        path: the file.
        shapes: the shape of every tensor by name, as stored: a Fortran-ordered array has its logical shape.
        read_tensors: see `read`, which guards it.
        remark: which part of the file was taken, in words ("its EMA weights"), or "".
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read_tensors: Callable[[Collection[str]], "dict[str, Tensor]"]
    remark: str = ""

    def read(self, names: Collection[str] | None = None) -> "dict[str, Tensor]":
        """Return the tensors called `names`, or all: on the CPU, in the stored shape and width, not always contiguous.

        Their dtypes are bfloat16, float16, float32 or float64, in this machine's byte order. They take as much memory as
        the tensors do; the others are not read.

        Raises:
            CheckpointError: damaged data, or tensors that are not floating-point.
        """
        with guarded(self.path):
            return self.read_tensors(self.shapes.keys() if names is None else frozenset(names))


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn any exception that the content of `path` causes into a CheckpointError: libraries trust what they read.

    Raises:
        CheckpointError: the block raised an exception other than an AllmlpError, or than that of a missing library.
    """
    try:
        yield
    except (AllmlpError, ModuleNotFoundError):  # a library that is not installed says nothing about the file
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: could not be read ({error.strerror or error}).") from error
    except RefusedError as error:
        raise CheckpointError(f"{path}: {error}.") from error
    except Exception as error:
        if lacking := shortage(error):
            raise CheckpointError(f"{path}: could not be read: {lacking}.") from error
        what = shorten(escape(str(error)), 500) or type(error).__name__
        raise CheckpointError(f"{path}: damaged or cut short ({what}). Copy or download it again.") from error


def is_valid_shape(shape: Sequence[int]) -> bool:
    """Whether an array may have this shape: sizes from an untrusted file are bounded before any arithmetic."""
    return (
        len(shape) <= MAX_DIMENSIONS
        and all(0 <= size <= MAX_ELEMENTS for size in shape)
        and math.prod(max(1, size) for size in shape) <= MAX_ELEMENTS
    )
