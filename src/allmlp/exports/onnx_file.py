"""ONNX files read back. They are untrusted: only what allmlp writes is accepted, before ONNX Runtime or OpenVINO sees a byte.

Neither the library onnx nor an engine is needed here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from allmlp.checkpoints import ModelDescription
from allmlp.errors import AllmlpError, CheckpointError
from allmlp.exports.metadata import DIGEST_KEY, OWN_KEY, ExportInfo, check_digest, no_description, parse_info
from allmlp.exports.onnx_graph import INPUT, OPERATORS, graph_digest, stored_shapes
from allmlp.exports.protobuf import Field, encode_field, read_fields, read_integers
from allmlp.exports.quantised_graph import INT8_OPERATORS, MAX_WEIGHT, integer_layers, quantised_constants
from allmlp.io.display import escape, quote, shorten, summarise
from allmlp.model import parameter_shapes

__all__ = ["OnnxExport", "parse_onnx", "read_onnx"]

_MAX_BYTES = 1 << 31  # protobuf's limit
_MAX_NODES = 64_000  # and weights; the largest number of blocks of a configuration has 28,000
_MAX_CONSTANT_BYTES = 1024  # of shapes and axes, next to the weights

# Numbers of fields, from onnx.proto.
_MODEL = {"graph": 7, "opset": 8, "metadata": 14}
_MODEL_NOTES = (1, 2, 3, 4, 5, 6)  # the version of the format, who wrote it, documentation
_GRAPH = {"node": 1, "initializer": 5, "input": 11, "output": 12}
_GRAPH_NOTES = (2, 10, 13, 16)  # name, documentation, shapes of values, metadata
_NODE = {"input": 1, "output": 2, "operator": 4, "attribute": 5, "domain": 7}
_ATTRIBUTE_VALUES = (1, 2, 3, 4, 7, 8, 13, 20)  # its name, numbers, text, documentation and type: no tensors, no graphs
_TENSOR = {"dims": 1, "type": 2, "name": 8, "raw": 9, "documentation": 12, "external": 13, "location": 14}
_ITEM_BYTES = {1: 4, 7: 8}  # FLOAT and INT64
_INT8_ITEM_BYTES = {2: 1, 3: 1}  # UINT8 and INT8, next to these
_INT8 = 3


class _Node(NamedTuple):
    inputs: list[str]
    outputs: list[str]


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    """An ONNX model that was read and checked.

    Attributes:
        info: what it says about itself.
        content: the whole file.
    """

    info: ExportInfo
    content: bytes

    def graph(self, output: str | None = None) -> bytes:
        """Return the model without its metadata; with one output, only what that needs: ONNX Runtime computes all of a graph.

        Raises:
            ValueError: there is no such output.
        """
        parts: list[bytes | memoryview] = []
        for field in read_fields(memoryview(self.content)):
            if field.number == _MODEL["graph"] and output is not None:
                parts += encode_field(field.number, b"".join(_graph_with_output(field.content, output)))
            elif field.number != _MODEL["metadata"]:
                parts.append(field.raw)
        return b"".join(parts)

    @property
    def description(self) -> ModelDescription:
        """The model without its weights."""
        return self.info.description


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
            metadata[texts.get(1, "")] = texts.get(2, "")
        elif field.number == _MODEL["opset"]:
            if any(part.number == 1 and part.content for part in read_fields(field.content)):
                raise _foreign(where, "it uses operators from outside ONNX")
        elif field.number not in _MODEL_NOTES:
            raise _foreign(where, f"field {field.number} of the model, such as functions")
    if graph is None:
        raise ValueError("it has no graph")
    if OWN_KEY not in metadata:
        raise CheckpointError(f"{where}: {no_description('an ONNX model', 'onnx')}")
    info = parse_info(metadata[OWN_KEY], where=where)
    _check_graph(graph, info, where)
    check_digest(metadata.get(DIGEST_KEY), graph_digest(graph, metadata[OWN_KEY]), where=where)
    return OnnxExport(info=info, content=content)


def _foreign(where: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"{where}: not a graph that allmlp writes: {what}. It is not run. Export the checkpoint again."
    )


def _check_graph(graph: memoryview, info: ExportInfo, where: str) -> None:
    """Check that a graph has only operators of a Mixer, and the weights of the Mixer that it claims to be."""
    num_nodes, shapes = 0, {}
    config, is_int8 = info.description.config, info.quantisation is not None
    operators = OPERATORS | INT8_OPERATORS if is_int8 else OPERATORS
    item_bytes = _ITEM_BYTES | _INT8_ITEM_BYTES if is_int8 else _ITEM_BYTES
    integers: dict[str, memoryview] = {}
    inputs: list[str] = []
    outputs: set[str] = set()
    for field in read_fields(graph):
        num_nodes += field.number in (_GRAPH["node"], _GRAPH["initializer"])
        if num_nodes > _MAX_NODES:
            raise _foreign(where, f"more than {_MAX_NODES:,} nodes and weights")
        if field.number == _GRAPH["node"]:
            _check_node(field.content, operators, where)
        elif field.number == _GRAPH["initializer"]:
            name, shape, values = _check_tensor(field.content, item_bytes, where)
            shapes[name] = shape
            if values is not None:
                integers[name] = values
        elif field.number == _GRAPH["input"]:
            inputs.append(_name_of(field.content))
        elif field.number == _GRAPH["output"]:
            outputs.add(_name_of(field.content))
        elif field.number not in _GRAPH_NOTES:
            raise _foreign(where, f"field {field.number} of the graph")
    wanted = stored_shapes(parameter_shapes(config))
    wrong = [name for name, shape in wanted.items() if shapes.get(name) != shape]
    if wrong:
        raise CheckpointError(
            f"{where}: its weights do not fit the Mixer that it describes: {summarise(wrong, limit=5)}. Export the checkpoint "
            "again."
        )
    small = _MAX_CONSTANT_BYTES // 8
    scales = quantised_constants(config) if is_int8 else {}
    others = [
        name
        for name, shape in shapes.items()
        if name not in wanted and shape != scales.get(name) and math.prod(shape) > small
    ]
    if others:
        raise _foreign(where, f"the unknown weights {summarise(map(escape, others), limit=5)}")
    if inputs != [INPUT]:
        raise _foreign(where, f"its inputs are {summarise(map(escape, inputs), limit=5)}")
    if missing := {"features", *(["logits"] if config.num_classes else [])} - outputs:
        raise _foreign(where, f"it lacks the outputs {', '.join(sorted(missing))}")
    if info.quantisation is not None and not info.quantisation.needs_vnni:
        _check_portable(integers, integer_layers(set(shapes), config), where)


def _check_portable(integers: Mapping[str, memoryview], layers: Sequence[str], where: str) -> None:
    """Check that the integer products of a file that runs on any processor cannot saturate."""
    weights = {layer: np.frombuffer(integers.get(f"{layer}.weight", b""), np.int8) for layer in layers}
    limit = MAX_WEIGHT[7]
    if wrong := [
        layer for layer, values in weights.items() if values.size and (values.min() < -limit or values.max() > limit)
    ]:
        raise CheckpointError(
            f"{where}: it says that it runs without VNNI, but has weights of over 7 bits: {summarise(wrong, limit=5)}. Export "
            "the checkpoint again."
        )


def _check_node(node: memoryview, operators: frozenset[str], where: str) -> None:
    for field in read_fields(node):
        if field.number == _NODE["operator"] and field.text not in operators:
            raise _foreign(where, f"the operator {quote(field.text[:80])}")
        if field.number == _NODE["domain"] and field.content:
            raise _foreign(where, f"an operator of {quote(field.text[:80])}")
        if field.number == _NODE["attribute"]:
            numbers = {part.number for part in read_fields(field.content)}
            if not numbers <= set(_ATTRIBUTE_VALUES):
                raise _foreign(where, "an operator with a tensor or a graph inside")


def _check_tensor(
    tensor: memoryview, item_bytes: Mapping[int, int], where: str
) -> tuple[str, tuple[int, ...], memoryview | None]:
    """Return the name and the shape of a tensor, whose values are in the file; and its values, if these are int8."""
    shape: list[int] = []
    name, kind, values = "", 0, tensor[:0]
    for field in read_fields(tensor):
        if field.number == _TENSOR["external"] or (field.number == _TENSOR["location"] and field.integer != 0):
            raise CheckpointError(
                f"{where}: its weights are in another file, which is not opened. Export the checkpoint again: allmlp writes "
                "one file."
            )
        if field.number == _TENSOR["dims"]:
            shape += read_integers(field)
        elif field.number == _TENSOR["type"]:
            kind = field.integer
        elif field.number == _TENSOR["name"]:
            name = field.text
        elif field.number == _TENSOR["raw"]:
            values = field.content
        elif field.number != _TENSOR["documentation"]:
            raise _foreign(where, f"field {field.number} of a weight")
    if kind not in item_bytes:
        raise _foreign(where, f"a weight of ONNX's type {kind}")
    if len(shape) > 8 or math.prod(shape) * item_bytes[kind] != len(values):
        raise ValueError(f"{quote(name[:80])} has {len(values):,} bytes, which do not fit its shape")
    return name, tuple(shape), values if kind == _INT8 else None


def _name_of(value: memoryview) -> str:
    return next((field.text for field in read_fields(value) if field.number == 1), "")


def _graph_with_output(graph: memoryview, name: str) -> Iterator[bytes | memoryview]:
    fields = list(read_fields(graph))
    nodes = [_node(field) for field in fields if field.number == _GRAPH["node"]]
    needed = _needed(nodes, name)
    found = False
    for field in fields:
        if field.number == _GRAPH["node"]:
            is_kept = bool(needed.intersection(_node(field).outputs))
        elif field.number == _GRAPH["initializer"]:
            is_kept = _tensor_name(field) in needed
        elif field.number == _GRAPH["output"]:
            is_kept = _name_of(field.content) == name
            found = found or is_kept
        else:
            is_kept = True
        if is_kept:
            yield field.raw
    if not found:
        raise ValueError(f"this model has no output {name!r}")


def _needed(nodes: list[_Node], output: str) -> set[str]:
    """Return the names of all values that the output needs. Nodes are in the order of computation."""
    needed = {output}
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
    return needed


def _node(field: Field) -> _Node:
    node = _Node([], [])
    for part in read_fields(field.content):
        if part.number == _NODE["input"]:
            node.inputs.append(part.text)
        elif part.number == _NODE["output"]:
            node.outputs.append(part.text)
    return node


def _tensor_name(field: Field) -> str:
    return next((part.text for part in read_fields(field.content) if part.number == _TENSOR["name"]), "")
