"""safetensors files: a checked header, tensors loaded by the library, and a writer that takes no second copy."""

import codecs
import contextlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from allmlp.checkpoints.containers.weight_file import WeightFile, is_possible
from allmlp.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["open_safetensors", "safetensors_header", "write_safetensors"]

MAX_HEADER_BYTES = 2 << 20  # H/14 takes 50 kB, the most blocks that a configuration may have 1.5 MB

# float32 holds each of these exactly, but for float64, which it rounds.
DTYPES = ("BF16", "F16", "F32", "F64")

# What is written: torch's names of dtypes, and the format's (https://github.com/huggingface/safetensors#format).
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
PIECE_BYTES = 4 << 20  # written at a time: whoever hashes it finds it still in the processor's cache

# What is found in place of weights, by how it starts. Asked only of files that cannot be read: the length that a sound
# one starts with may look like anything.
STRANGERS = (
    (b"version https://git-lfs", "a git-lfs pointer, not the weights it points to; run `git lfs pull`"),
    (b"<", "a web page or XML, not weights; download it again, by the file's own link"),
    (b"{", "JSON text, such as config.json or an error message, not weights"),
    (b"PK\x03\x04", "a zip archive (such as .npz or torch's .pth), not a safetensors file"),
    (
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
        "a file of torch before 1.6: a pickle, which can run any program and is not opened; where you trust it, load it "
        "with torch.load and save it again with torch.save",
    ),
    *(
        (bytes([0x80, protocol]), "a pickle; it is not opened, because a pickle can run any program")
        for protocol in (2, 3, 4, 5)
    ),
    (b"\x89PNG", "a picture (PNG), not weights"),
    (b"\xff\xd8\xff", "a picture (JPEG), not weights"),
    (b"GGUF", "a GGUF file of a language model, not weights of a Mixer"),
    *((bytes([8, version, 0x12]), "an ONNX graph, from which allmlp reads no weights") for version in range(3, 16)),
    (b"\x93NUMPY", "a single NumPy array (.npy), not a file of named weights"),
    (b"\x89HDF", "an HDF5 file, not a safetensors file"),
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
)
TAR = (
    "a tar archive. Torch before 0.1.10 wrote weights so, as a pickle, which can run any program and is not opened; "
    "where you trust it, load it with torch.load and save it again with torch.save"
)


def open_safetensors(path: Path) -> WeightFile:
    """List the tensors of a safetensors file.

    The places of the tensors in the file are left to the safetensors library, which checks them when it loads.

    Raises:
        CheckpointError: not a regular file, another kind of file (which is named), or a header that is damaged or names
            a tensor twice.
    """
    if not path.is_file():  # a pipe would hang whoever opens it
        raise CheckpointError(f"{path}: not a regular file; expected weights in the safetensors format.")
    try:
        entries = _read_header(path)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {_what_is_wrong(path, error)}") from error
    shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
    return WeightFile(path, shapes, lambda: _read(path, entries))


def safetensors_header(tensors: "Mapping[str, Tensor]") -> bytes:
    """Return the header of a safetensors file of these tensors.

    The library's own writer is not used: what it wrote would have to be read again to be hashed, and some versions hold
    a second copy of every tensor.

    Raises:
        ValueError: a tensor that is not dense, not on the CPU or of an unknown dtype, or one named __metadata__.
    """
    entries, start = {}, 0
    for name in _in_order(tensors):
        tensor = tensors[name]
        dtype = WRITTEN_DTYPES.get(str(tensor.dtype))
        if dtype is None or tensor.device.type != "cpu" or str(tensor.layout) != "torch.strided":
            raise ValueError(f"{name}: {tensor.dtype}, {tensor.layout} on {tensor.device} cannot be saved")
        stop = start + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, stop]}
        start = stop
    if "__metadata__" in entries:
        raise ValueError("no tensor can be saved as __metadata__")
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


class _Sink(Protocol):
    def write(self, content: Any, /) -> object: ...


def write_safetensors(sink: _Sink, header: bytes, tensors: "Mapping[str, Tensor]") -> None:
    """Write a safetensors file of `tensors`, whose header `safetensors_header` made, piece by piece and without a copy."""
    import torch

    sink.write(header)
    for name in _in_order(tensors):
        values = tensors[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
        for start in range(0, len(values), PIECE_BYTES):
            sink.write(values[start : start + PIECE_BYTES])


def _in_order(tensors: "Mapping[str, Tensor]") -> list[str]:
    # As the library writes them, so that each tensor starts at a multiple of its element's size.
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def _read(path: Path, entries: dict[str, dict[str, Any]]) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    strange = sorted(name for name, entry in entries.items() if entry["dtype"] not in DTYPES)
    if strange:
        shown = ", ".join(f"{name[:100]!r} ({entries[name]['dtype']!r})" for name in strange[:10])
        raise CheckpointError(f"{path}: {len(strange):,} weights are not {', '.join(DTYPES)}, such as {shown[:1000]}.")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: damaged, cut short, or not a safetensors file ({error}). Copy or train it anew."
        ) from error


def _read_header(path: Path) -> dict[str, dict[str, Any]]:
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise ValueError(f"it has {len(start)} bytes")
        (length,) = struct.unpack("<Q", start)
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"its header would have {length:,} bytes")
        header = file.read(length)
    if len(header) < length:
        raise ValueError("its header is cut short")
    entries = json.loads(header.decode("utf-8"), object_pairs_hook=_without_duplicates)
    if not isinstance(entries, dict):
        raise ValueError("its header is not an object")
    entries.pop("__metadata__", None)
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str) or not _is_shape(entry.get("shape")):
            raise ValueError(f"its header says nothing sensible about {name[:100]!r}")
    return entries


def _what_is_wrong(path: Path, error: Exception) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        start = file.read(512)
        if start[257:262] == b"ustar":
            return f"this is {TAR}."
        for magic, what in STRANGERS:
            if start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(magic):
                return f"this is {what}."
    return f"damaged, cut short, or not a safetensors file ({error}). Copy or train it anew."


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted(name for name in result if names.count(name) > 1) if len(pairs) < 1000 else ["many names"]
        raise ValueError(f"its header names twice: {', '.join(twice)[:1000]}")
    return result


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(type(size) is int for size in shape) and is_possible(shape)
