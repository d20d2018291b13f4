"""ONNX files read back. They are untrusted: only what allmlp writes is accepted, before ONNX Runtime or OpenVINO sees a byte.

Neither the library onnx nor an engine is needed here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from allmlp.checkpoints import ModelDescription
from allmlp.errors import AllmlpError, CheckpointError
from allmlp.exports.metadata import (
    DIGEST_KEY,
    MODEL_INFO,
    OWN_KEY,
    PIXELS,
    ExportInfo,
    Pixels,
    changed,
    check_digest,
    check_model_info,
    no_description,
    parse_info,
)
from allmlp.exports.onnx_model.checks import GRAPH, NODE, TENSOR, check_graph, name_of, not_ours
from allmlp.exports.onnx_model.graph import graph_digest
from allmlp.exports.onnx_model.pixels import IMAGES, PHOTOS
from allmlp.exports.onnx_model.protobuf import Field, encode_field, encode_message, read_fields
from allmlp.io.display import escape, quote, shorten

__all__ = ["WEIGHTS", "OnnxExport", "parse_onnx", "read_onnx"]

WEIGHTS = "weights"
"""The name by which `OnnxExport.graph_without_weights` refers to the content of the file."""

_MAX_BYTES = 1 << 31  # protobuf's limit
_MIN_BYTES_OUTSIDE = 1 << 16  # smaller weights stay in the graph, as do the constants that engines fold into it
_EXTERNAL = 1  # where the values of a tensor are

# Numbers of fields, from onnx.proto.
_MODEL = {"graph": 7, "opset": 8, "metadata": 14}
_MODEL_NOTES = (1, 2, 3, 4, 5, 6)  # the version of the format, who wrote it, documentation


class _Node(NamedTuple):
    inputs: list[str]
    outputs: list[str]


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    """An ONNX model that was read and checked.

    Attributes:
        info: what it says about itself.
        model_info: the keys of the Model API next to it.
        content: the whole file.
    """

    info: ExportInfo
    model_info: Mapping[str, str]
    content: bytes

    def graph(self, *outputs: str) -> bytes:
        """Return the model without its metadata; with outputs, only what they need: ONNX Runtime computes all of a graph.

        With outputs, the part starts at `images`, pre-processed, wherever the pixels are. With `images` as the output it is
        the pixel part.

        Raises:
            ValueError: there is no such output.
        """
        parts: list[bytes | memoryview] = []
        for field in read_fields(memoryview(self.content)):
            if field.number == _MODEL["graph"] and outputs:
                parts += encode_message(field.number, list(_part_of_graph(field.content, outputs)))
            elif field.number != _MODEL["metadata"]:
                parts.append(field.raw)
        return b"".join(parts)

    def graph_without_weights(self, *outputs: str) -> bytes:
        """Return the same part of the model, whose large weights are references into a file called `WEIGHTS`: `content`.

        So an engine that is given both neither parses nor copies the weights more often than it must.

        Raises:
            ValueError: there is no such output.
        """
        start = _address(memoryview(self.content))
        parts: list[bytes | memoryview] = []
        for field in read_fields(memoryview(self.content)):
            if field.number == _MODEL["graph"]:
                pieces: list[bytes | memoryview] = []
                for piece in _part_of_graph(field.content, outputs):
                    pieces += _without_values(piece, start)
                parts += encode_message(field.number, pieces)
            elif field.number != _MODEL["metadata"]:
                parts.append(field.raw)
        return b"".join(parts)

    @property
    def description(self) -> ModelDescription:
        """The model without its weights."""
        return self.info.description

    @property
    def pixels(self) -> Pixels:
        """Where photos become images: "out" of the file, "in" its graph, or "exact" in it."""
        return self.info.pixels


def read_onnx(path: Path) -> OnnxExport:
    """Read and check an ONNX file that allmlp wrote.

    Raises:
        CheckpointError: it does not exist, is damaged or hostile, or was not written by allmlp.
    """
    where = escape(path)
    try:
        if not path.is_file():
            problem = "not a regular file" if path.exists() else "no such file"
            raise CheckpointError(f"{shorten(where, 300)}: {problem}; expected an ONNX file that allmlp export wrote.")
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{where}: larger than 2 GiB; this is not an ONNX file.")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{shorten(where, 300)}: could not be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise CheckpointError(f"{shorten(where, 300)}: could not be read ({error}).") from error
    return parse_onnx(content, where=where)


def parse_onnx(content: bytes, *, where: str) -> OnnxExport:
    """Check an ONNX model; error messages start with `where`.

    Raises:
        CheckpointError: damaged or hostile, or not written by allmlp.
    """
    try:
        return _checked(content, where)
    except AllmlpError:
        raise
    except (ValueError, ArithmeticError) as error:
        what = shorten(escape(error), 300)
        raise CheckpointError(
            f"{where}: damaged, cut short, or not an ONNX file of allmlp ({what}). Export the checkpoint again."
        ) from error


def _checked(content: bytes, where: str) -> OnnxExport:
    graph: memoryview | None = None
    metadata: dict[str, str] = {}
    for field in read_fields(memoryview(content)):
        if field.number == _MODEL["graph"] and graph is None:
            graph = field.content
        elif field.number == _MODEL["metadata"]:
            texts = {part.number: part.text for part in read_fields(field.content)}
            if (name := texts.get(1, "")) in metadata:  # of two, programs take one or the other
                raise changed(where, f"the metadata key {quote(name[:80])} occurs twice")
            metadata[name] = texts.get(2, "")
        elif field.number == _MODEL["opset"]:
            if any(part.number == 1 and part.content for part in read_fields(field.content)):
                raise not_ours(where, "it uses operators from outside ONNX")
        elif field.number not in _MODEL_NOTES:
            raise not_ours(where, f"field {field.number} of the model, such as functions")
    if graph is None:
        raise ValueError("it has no graph")
    if OWN_KEY not in metadata:
        raise CheckpointError(f"{where}: {no_description('an ONNX model', 'onnx')}")
    info = parse_info(metadata[OWN_KEY], where=where, pixels=PIXELS)
    check_graph(graph, info, where)
    check_digest(metadata.get(DIGEST_KEY), graph_digest(graph, metadata[OWN_KEY]), where=where)
    prefix = f"{MODEL_INFO} "
    found = {name.removeprefix(prefix): value for name, value in metadata.items() if name.startswith(prefix)}
    if DIGEST_KEY in metadata:  # which does not cover them
        check_model_info(found, info, where=where)
    return OnnxExport(info=info, model_info=found, content=content)


def _part_of_graph(graph: memoryview, outputs: Sequence[str]) -> Iterator[bytes | memoryview]:
    """Yield the fields of the part that computes outputs, from `images` on; of the pixel part if `images` is the output."""
    fields = list(read_fields(graph))
    nodes = [_node(field) for field in fields if field.number == GRAPH["node"]]
    is_pixel_part = outputs == (IMAGES,)
    needed = _needed(nodes, outputs, start=PHOTOS if is_pixel_part else IMAGES)
    inputs = {name_of(field.content) for field in fields if field.number == GRAPH["input"]}
    found = set()
    for field in fields:
        if field.number == GRAPH["node"]:
            is_kept = bool(needed.intersection(_node(field).outputs)) and (
                is_pixel_part or IMAGES not in _node(field).outputs
            )
        elif field.number == GRAPH["initializer"]:
            is_kept = _tensor_name(field) in needed
        elif field.number == GRAPH["output"]:
            is_kept = name_of(field.content) in outputs
            found.update([name_of(field.content)] if is_kept else [])
        elif field.number == GRAPH["input"]:
            is_kept = is_pixel_part or name_of(field.content) == IMAGES
        elif field.number == GRAPH["value"] and name_of(field.content) == IMAGES and IMAGES not in inputs:
            is_kept = False
            found.update([IMAGES] if is_pixel_part else [])
            yield from encode_field(GRAPH["output" if is_pixel_part else "input"], field.content)
        else:
            is_kept = True
        if is_kept:
            yield field.raw
    if missing := set(outputs) - found:
        raise ValueError(f"this model has no output {sorted(missing)[0]!r}")


def _without_values(piece: bytes | memoryview, start: int) -> list[bytes | memoryview]:
    """Return a piece of a graph: if it is a large weight, with a reference to its values, at an address after `start`."""
    if len(piece) < _MIN_BYTES_OUTSIDE or not isinstance(piece, memoryview):
        return [piece]
    (field,) = read_fields(piece)
    if field.number != GRAPH["initializer"]:
        return [piece]
    kept: list[bytes | memoryview] = []
    for part in read_fields(field.content):
        if part.number != TENSOR["raw"]:
            kept.append(part.raw)
            continue
        where = {"location": WEIGHTS, "offset": _address(part.content) - start, "length": len(part.content)}
        for key, value in where.items():
            entry = [*encode_field(1, key.encode()), *encode_field(2, str(value).encode())]
            kept += encode_message(TENSOR["external"], entry)
        kept.append(bytes([TENSOR["location"] << 3, _EXTERNAL]))
    return encode_message(field.number, kept)


def _address(view: memoryview) -> int:
    address: int = np.frombuffer(view, np.uint8).ctypes.data
    return address


def _needed(nodes: list[_Node], outputs: Sequence[str], *, start: str) -> set[str]:
    """Return the names of all values that the outputs need, back to `start`. Nodes are in the order of computation."""
    needed = set(outputs)
    for node in reversed(nodes):
        if needed.intersection(node.outputs) and start not in node.outputs:
            needed.update(node.inputs)
    return needed


def _node(field: Field) -> _Node:
    node = _Node([], [])
    for part in read_fields(field.content):
        if part.number == NODE["input"]:
            node.inputs.append(part.text)
        elif part.number == NODE["output"]:
            node.outputs.append(part.text)
    return node


def _tensor_name(field: Field) -> str:
    return next((part.text for part in read_fields(field.content) if part.number == TENSOR["name"]), "")
