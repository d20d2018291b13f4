"""safetensors files: a check of the header, loading by the library, and a writer that makes no second copy."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from allmlp.checkpoints.containers.weight_file import WeightFile, guarded, is_valid_shape
from allmlp.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["open_safetensors", "read_arrays", "read_header_bytes", "safetensors_header", "write_safetensors"]

MAX_HEADER_BYTES = 2 << 20  # H/14 takes 50 kB, the largest number of blocks of a configuration 1.5 MB

# Models compute in float32, which holds all of these exactly except F64, which is rounded.
DTYPES = ("BF16", "F16", "F32", "F64")
_NUMPY_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}

# Written dtypes: torch's names, and the format's (https://github.com/huggingface/safetensors#format).
WRITTEN_DTYPES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}
_DAMAGED = "damaged, cut short, or not a safetensors file ({}). Obtain a fresh copy, or save it again."
PIECE_BYTES = 4 << 20  # per write; a piece that is hashed next is still in the CPU's cache


def open_safetensors(path: Path) -> WeightFile:
    """List the tensors of a safetensors file.

    The offsets of the tensors are left to the safetensors library, which checks them when it loads.

    Raises:
        CheckpointError: a header that is damaged or lists a tensor twice.
    """
    with guarded(path):
        try:
            entries = _read_header(path)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: {_DAMAGED.format(error)}") from error
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        return WeightFile(
            path,
            shapes,
            lambda names: _read(path, {name: entry for name, entry in entries.items() if name in names}),
        )


def safetensors_header(tensors: "Mapping[str, Tensor]", *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the header of a safetensors file of these tensors, with `metadata` first.

    The library's own writer is not used: its output would have to be read back to be hashed, and some versions hold a
    second copy of every tensor.

    Raises:
        ValueError: a tensor is not dense, not on the CPU, of an unknown dtype, or named __metadata__.
    """
    entries: dict[str, Any] = {}
    start = 0
    for name in _in_order(tensors):
        tensor = tensors[name]
        dtype = WRITTEN_DTYPES.get(str(tensor.dtype))
        if dtype is None or tensor.device.type != "cpu" or str(tensor.layout) != "torch.strided":
            raise ValueError(f"{name}: {tensor.dtype}, {tensor.layout} on {tensor.device} cannot be saved")
        stop = start + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, stop]}
        start = stop
    if "__metadata__" in entries:
        raise ValueError("a tensor cannot be saved under the reserved name __metadata__")
    if metadata is not None:
        entries = {"__metadata__": dict(metadata), **entries}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


class _Sink(Protocol):
    def write(self, content: Any, /) -> object: ...


def write_safetensors(sink: _Sink, header: bytes, tensors: "Mapping[str, Tensor]") -> None:
    """Write `tensors` as a safetensors file, piece by piece and without a copy; `safetensors_header` makes the header."""
    import torch

    sink.write(header)
    for name in _in_order(tensors):
        values = tensors[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
        for start in range(0, len(values), PIECE_BYTES):
            sink.write(values[start : start + PIECE_BYTES])


def _in_order(tensors: "Mapping[str, Tensor]") -> list[str]:
    # The library's order, in which every tensor starts at a multiple of its element size.
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def read_arrays(path: Path) -> "dict[str, NDArray[np.float32]]":
    """Return all tensors of a safetensors file as NumPy arrays in float32, without torch.

    Raises:
        CheckpointError: a damaged file, or tensors that are not floating-point.
    """
    from safetensors import deserialize

    with guarded(path):
        try:
            _check_dtypes(path, _read_header(path))
            tensors: list[tuple[str, dict[str, Any]]] = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
            return {name: _float32(tensor) for name, tensor in tensors}
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: {_DAMAGED.format(error)}") from error


def _float32(tensor: Mapping[str, Any]) -> "NDArray[np.float32]":
    import numpy as np

    if tensor["dtype"] == "BF16":  # which NumPy lacks: the upper half of a float32
        values = (np.frombuffer(tensor["data"], "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(tensor["data"], _NUMPY_DTYPES[tensor["dtype"]]).astype(np.float32, copy=False)
    return values.reshape(tensor["shape"])


def _read(path: Path, entries: Mapping[str, Mapping[str, Any]]) -> "dict[str, Tensor]":
    from safetensors import SafetensorError, safe_open

    _check_dtypes(path, entries)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in entries}
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: {_DAMAGED.format(error)}") from error


def _check_dtypes(path: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    unsupported = sorted(name for name, entry in entries.items() if entry["dtype"] not in DTYPES)
    if unsupported:
        shown = ", ".join(f"{name[:100]!r} ({entries[name]['dtype']!r})" for name in unsupported[:10])
        raise CheckpointError(
            f"{path}: the dtype of {len(unsupported):,} weights is not one of {', '.join(DTYPES)}, such as {shown[:1000]}."
        )


def read_header_bytes(file: IO[bytes]) -> bytes:
    """Read the header of an open safetensors file, including the eight bytes of its length.

    Raises:
        ValueError: it is cut short, or longer than the header of any Mixer.
        OSError: it cannot be read.
    """
    start = file.read(8)
    if len(start) < 8:
        raise ValueError(f"it has only {len(start)} bytes")
    (length,) = struct.unpack("<Q", start)
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header would have {length:,} bytes; expected at most {MAX_HEADER_BYTES:,}")
    header = file.read(length)
    if len(header) < length:
        raise ValueError("its header is cut short")
    return start + header


def _read_header(path: Path) -> dict[str, dict[str, Any]]:
    with path.open("rb") as file:
        header = read_header_bytes(file)
    entries = json.loads(header[8:].decode("utf-8"), object_pairs_hook=_without_duplicates)
    if not isinstance(entries, dict):
        raise ValueError("its header is not an object")
    entries.pop("__metadata__", None)
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str) or not _is_shape(entry.get("shape")):
            raise ValueError(f"its header has an invalid entry for {name[:100]!r}")
    return entries


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted(name for name in result if names.count(name) > 1) if len(pairs) < 1000 else ["many names"]
        raise ValueError(f"its header holds repeated names: {', '.join(repeated)[:1000]}")
    return result


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(type(size) is int for size in shape) and is_valid_shape(shape)
