"""NumPy's .npz, in which the authors of MLP-Mixer publish their weights: a zip archive of arrays.

It is read without numpy.load: every header is checked against the size of its member before memory is allocated, nothing
is ever unpickled, and the data is read directly into its final memory.
"""

import io
import math
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from allmlp.checkpoints.containers.buffers import make_buffers
from allmlp.checkpoints.containers.weight_file import WeightFile, guarded, is_valid_shape
from allmlp.errors import CheckpointError
from allmlp.io.display import quote
from allmlp.io.zip_archive import ZIP_ERRORS, ZipMember, list_members, read_into, read_start

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["open_npz"]

MAX_HEADER_BYTES = 10_000  # NumPy's own limit

# Weights hardly compress: float32 that was bfloat16 to one half, a head of zeros to almost nothing.
MAX_EXPANSION = 4
MIN_EXPANDED_BYTES = 16 << 20

# NumPy's type codes without the byte order, and their widths. V2 (two bytes of no declared type) is how NumPy stores JAX's
# bfloat16.
FLOATS = {"f2": 2, "f4": 4, "f8": 8, "V2": 2}
# Refused only by `read`, so that a file of another architecture is first recognised by its names.
INTEGERS = {"b1": 1, "i1": 1, "i2": 2, "i4": 4, "i8": 8, "u1": 1, "u2": 2, "u4": 4, "u8": 8}

# {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }: matched entry by entry, never evaluated.
ENTRY = re.compile(
    r"""\s*(['"])(descr|fortran_order|shape)\1\s*:\s*('[^']*'|"[^"]*"|True|False|\([-\d,\sL]*\))\s*(,|\})"""
)


@dataclass(frozen=True)
class _Array:
    """An array of the archive. `kind` is NumPy's type code without the byte order."""

    member: ZipMember
    kind: str
    swapped: bool
    fortran: bool
    shape: tuple[int, ...]
    header_bytes: int


def open_npz(path: Path) -> WeightFile:
    """List the arrays of an .npz file. An array's name is that of its member without ".npy".

    Raises:
        CheckpointError: not a zip archive, a damaged one, or one that would unpack to far more than its size; members that
            are not arrays or have misleading names; arrays of objects, text or complex numbers; contradictory sizes.
    """
    with guarded(path):
        members = list_members(path)
        _check_members(path, members)
        arrays = {}
        with path.open("rb") as file:
            for member in members:
                try:
                    arrays[member.name.removesuffix(".npy")] = _read_header(file, member)
                except ZIP_ERRORS as error:
                    raise CheckpointError(f"{path}: {quote(member.name)}: {error}.") from error
        return WeightFile(
            path,
            {name: array.shape for name, array in arrays.items()},
            lambda names: _read(path, {name: array for name, array in arrays.items() if name in names}),
        )


def _check_members(path: Path, members: list[ZipMember]) -> None:
    if not members:
        raise CheckpointError(f"{path}: an empty zip archive; expected a NumPy .npz or a file of torch.save.")
    unknown = sorted(member.name for member in members if not member.name.endswith(".npy"))
    if unknown:
        shown = ", ".join(map(quote, unknown[:5]))
        raise CheckpointError(
            f"{path}: {len(unknown):,} of its {len(members):,} members are not arrays, such as {shown}; "
            f"expected a NumPy .npz (only arrays, each named *.npy) or a file of torch.save (with data.pkl)."
        )
    size = path.stat().st_size
    unpacked = sum(member.num_bytes for member in members)
    if unpacked > MAX_EXPANSION * size + MIN_EXPANDED_BYTES:
        raise CheckpointError(
            f"{path}: its {size:,} bytes would unpack to {unpacked:,}; weights do not compress like that."
        )


def _read_header(file: io.BufferedReader, member: ZipMember) -> _Array:
    start = read_start(file, member, 12 + MAX_HEADER_BYTES)
    if start[:6] != b"\x93NUMPY" or len(start) < 10:
        raise ValueError("not an array (it does not start like a .npy file)")
    form = {1: "<H", 2: "<I", 3: "<I"}.get(start[6])
    if form is None:
        raise ValueError(f"an array in version {start[6]} of the .npy format; expected 1, 2 or 3")
    (length,) = struct.unpack_from(form, start, 8)
    header_bytes = 8 + struct.calcsize(form) + length
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length:,} bytes; expected at most {MAX_HEADER_BYTES:,}")
    if header_bytes > len(start):
        raise ValueError("its header is cut short")
    descr, fortran, shape = _parse(start[header_bytes - length : header_bytes])
    order, kind = descr[:1], descr[1:]
    width = (FLOATS | INTEGERS).get(kind)
    if width is None or order not in "<>=|":
        what = "Python objects (never unpickled)" if kind.startswith("O") else quote(descr, limit=40)
        raise ValueError(f"an array of {what}; expected floating-point numbers")
    if member.num_bytes - header_bytes != math.prod(shape) * width:
        raise ValueError(
            f"contradictory sizes: {math.prod(shape):,} numbers of {width} bytes ({_shown_shape(shape)}) in "
            f"{member.num_bytes - header_bytes:,} bytes of data"
        )
    native = "<" if sys.byteorder == "little" else ">"
    return _Array(member, kind, order in "<>" and order != native and width > 1, fortran, shape, header_bytes)


def _parse(header: bytes) -> tuple[str, bool, tuple[int, ...]]:
    text = header.decode("latin-1").strip()
    found: dict[str, str] = {}
    position, end = 1, ""
    while text.startswith("{") and end != "}":
        entry = ENTRY.match(text, position)
        if entry is None or entry[2] in found:
            break
        found[entry[2]] = entry[3]
        position, end = entry.end(), entry[4]
        if end == "," and text[position:].strip() == "}":  # NumPy's trailing comma
            position, end = len(text), "}"
    if end != "}" or position != len(text) or len(found) != 3 or found["fortran_order"] not in ("True", "False"):
        raise ValueError(f"its header does not describe an array of numbers: {quote(text, limit=120)}")
    return found["descr"].strip("'\""), found["fortran_order"] == "True", _parse_shape(found["shape"])


def _parse_shape(text: str) -> tuple[int, ...]:
    sizes = [size.strip().removesuffix("L") for size in text.strip("()").split(",")]
    if not sizes[-1]:  # after a trailing comma, or of a shape without axes
        del sizes[-1]
    if text.startswith("(") and all(re.fullmatch(r"\d{1,15}", size) for size in sizes):
        shape = tuple(map(int, sizes))
        if is_valid_shape(shape):
            return shape
    raise ValueError(f"its header describes an invalid shape: {quote(text)}")


def _read(path: Path, arrays: dict[str, _Array]) -> "dict[str, Tensor]":
    integers = sorted(f"{name} ({array.kind})" for name, array in arrays.items() if array.kind not in FLOATS)
    if integers:
        raise CheckpointError(f"{path}: these weights are not floating-point: {', '.join(integers[:400])}.")
    buffers = make_buffers([array.member.num_bytes - array.header_bytes for array in arrays.values()])
    with path.open("rb") as file:
        for array, buffer in zip(arrays.values(), buffers, strict=True):
            read_into(file, array.member, buffer.data, skip=array.header_bytes)
    return {name: _tensor(array, buffer) for (name, array), buffer in zip(arrays.items(), buffers, strict=True)}


def _tensor(array: _Array, buffer: "NDArray[np.uint8]") -> "Tensor":
    import torch

    # torch has no untyped 16-bit elements: bfloat16 is passed through int16.
    values = buffer.view("i2" if array.kind == "V2" else array.kind)
    if array.swapped:
        values.byteswap(inplace=True)
    tensor = torch.from_numpy(values.reshape(array.shape, order="F" if array.fortran else "C"))
    return tensor.view(torch.bfloat16) if array.kind == "V2" else tensor


def _shown_shape(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape) or "no axes"
