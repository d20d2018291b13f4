"""Checks of an ONNX graph that was read: only what `onnx_bytes` writes is accepted, for the Mixer that the file describes."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.errors import CheckpointError
from allmlp.exports.integer_products import Operation, integer_weights
from allmlp.exports.metadata import ExportInfo
from allmlp.exports.onnx_model.graph import ONES, OPERATORS, stored_shapes
from allmlp.exports.onnx_model.pixels import IMAGES, PHOTOS, PIXEL_OPERATORS, is_pixel_name
from allmlp.exports.onnx_model.protobuf import read_fields, read_integers
from allmlp.exports.onnx_model.quantised import INT8_OPERATORS, MAX_WEIGHT, quantised_constants
from allmlp.io.display import escape, quote, summarise
from allmlp.model import parameter_shapes

__all__ = ["GRAPH", "NODE", "TENSOR", "check_graph", "check_portable", "name_of", "not_ours"]

_MAX_NODES = 64_000  # and weights; the largest number of blocks of a configuration has 28,000
_MAX_CONSTANT_BYTES = 1024  # of shapes and axes, next to the weights

# Numbers of fields, from onnx.proto.
GRAPH = {"node": 1, "initializer": 5, "input": 11, "output": 12, "value": 13}
NODE = {"input": 1, "output": 2, "name": 3, "operator": 4, "attribute": 5, "domain": 7}
TENSOR = {"dims": 1, "type": 2, "name": 8, "raw": 9, "documentation": 12, "external": 13, "location": 14}
_GRAPH_NOTES = (2, 10, 16)  # name, documentation, metadata
_ATTRIBUTE_VALUES = (1, 2, 3, 4, 7, 8, 13, 20)  # its name, numbers, text, documentation and type: no tensors, no graphs

_UINT8, _INT8 = 2, 3
_ITEM_BYTES = {1: 4, 7: 8}  # FLOAT and INT64
_INT8_ITEM_BYTES = {**_ITEM_BYTES, _UINT8: 1, _INT8: 1}
_PIXEL_ITEM_BYTES = {**_ITEM_BYTES, _UINT8: 1, 11: 8}  # DOUBLE, too


class _Accepted(NamedTuple):
    """What a part of a graph may have: operators, and types of constants with the bytes of a value."""

    operators: frozenset[str]
    item_bytes: Mapping[int, int]


_EARLIER_OPERATORS = OPERATORS | {"ReduceMean"}  # the mean over tokens, in files of earlier versions
_FLOAT_PART = _Accepted(_EARLIER_OPERATORS, _ITEM_BYTES)
_INT8_PART = _Accepted(_EARLIER_OPERATORS | INT8_OPERATORS, _INT8_ITEM_BYTES)
_PIXEL_PART = _Accepted(PIXEL_OPERATORS, _PIXEL_ITEM_BYTES)


class _Parts(NamedTuple):
    """The parts of a graph: the pixel part, by the names in it, and the Mixer."""

    mixer: _Accepted
    pixels: _Accepted | None

    def of(self, name: str) -> _Accepted:
        return self.pixels if self.pixels is not None and is_pixel_name(name) else self.mixer


class _Tensor(NamedTuple):
    name: str
    kind: int
    shape: tuple[int, ...]
    values: memoryview


def not_ours(where: str, what: str) -> CheckpointError:
    """Return the error for a graph that has something which allmlp does not write."""
    return CheckpointError(
        f"{where}: not a graph that allmlp writes: {what}. It is not run. Export the checkpoint again."
    )


def check_graph(graph: memoryview, info: ExportInfo, where: str) -> None:
    """Check that a graph has only operators of a Mixer, and the weights of the Mixer that it claims to be.

    An int8 Mixer has integers, and if the pixels are inside, that part may have its own operators and small constants of other
    types.

    Raises:
        CheckpointError: it has anything else.
        ValueError: it is damaged.
    """
    has_pixels = info.pixels != "out"
    parts = _Parts(_FLOAT_PART if info.quantisation is None else _INT8_PART, _PIXEL_PART if has_pixels else None)
    num_nodes = 0
    shapes: dict[str, tuple[int, ...]] = {}
    integers: dict[str, NDArray[np.int8]] = {}
    operations: list[Operation] = []
    names: dict[int, list[str]] = {GRAPH["input"]: [], GRAPH["output"]: [], GRAPH["value"]: []}
    for field in read_fields(graph):
        num_nodes += field.number in (GRAPH["node"], GRAPH["initializer"])
        if num_nodes > _MAX_NODES:
            raise not_ours(where, f"more than {_MAX_NODES:,} nodes and weights")
        if field.number == GRAPH["node"]:
            operations.append(_checked_node(field.content, parts, where))
        elif field.number == GRAPH["initializer"]:
            tensor = _checked_tensor(field.content, parts, where)
            shapes[tensor.name] = tensor.shape
            if tensor.kind == _UINT8 and tensor.shape and not is_pixel_name(tensor.name):
                raise not_ours(where, f"the weight {quote(tensor.name[:80])} in uint8")
            if tensor.kind == _INT8:
                integers[tensor.name] = np.frombuffer(tensor.values, np.int8)
        elif field.number in names:
            names[field.number].append(name_of(field.content))
        elif field.number not in _GRAPH_NOTES:
            raise not_ours(where, f"field {field.number} of the graph")
    _check_weights(shapes, info, where)
    if info.quantisation is not None and not info.quantisation.needs_vnni:
        multiplied = integer_weights(operations, integers.keys())
        check_portable([(name, integers[name]) for name in integers if name in multiplied], where)
    inputs, outputs = names[GRAPH["input"]], set(names[GRAPH["output"]])
    if inputs != [PHOTOS if has_pixels else IMAGES]:
        raise not_ours(where, f"its inputs are {summarise(map(escape, inputs), limit=5)}")
    if has_pixels and IMAGES not in names[GRAPH["value"]]:
        raise not_ours(where, f"it does not state the shape of {IMAGES}")
    if missing := {"features", *(["logits"] if info.description.config.num_classes else [])} - outputs:
        raise not_ours(where, f"it lacks the outputs {', '.join(sorted(missing))}")


def check_portable(weights: Iterable[tuple[str, NDArray[np.int8]]], where: str) -> None:
    """Check that the integer products of a file that runs on any processor cannot overflow; `weights` are theirs, by name.

    Raises:
        CheckpointError: a weight has more than 7 bits.
    """
    limit = MAX_WEIGHT[7]
    wrong = [
        name.removesuffix(".weight")
        for name, values in weights
        if values.size and not -limit <= values.min() <= values.max() <= limit
    ]
    if wrong:
        raise CheckpointError(
            f"{where}: it says that it runs without VNNI, but has weights of over 7 bits: {summarise(wrong, limit=5)}. Export "
            "the checkpoint again."
        )


def _check_weights(shapes: Mapping[str, tuple[int, ...]], info: ExportInfo, where: str) -> None:
    config = info.description.config
    wanted = stored_shapes(parameter_shapes(config))
    wrong = [name for name, shape in wanted.items() if shapes.get(name) != shape]
    if wrong:
        raise CheckpointError(
            f"{where}: its weights do not fit the Mixer that it describes: {summarise(wrong, limit=5)}. Export the checkpoint "
            "again."
        )
    small = _MAX_CONSTANT_BYTES // 8
    known = {ONES: (1, config.num_tokens)} | ({} if info.quantisation is None else quantised_constants(config))
    unknown = [
        name
        for name, shape in shapes.items()
        if name not in wanted and shape != known.get(name) and math.prod(shape) > small
    ]
    if unknown:
        raise not_ours(where, f"the unknown weights {summarise(map(escape, unknown), limit=5)}")


def _checked_node(node: memoryview, parts: _Parts, where: str) -> Operation:
    fields = list(read_fields(node))
    operators = parts.of(next((field.text for field in fields if field.number == NODE["name"]), "")).operators
    for field in fields:
        if field.number == NODE["operator"] and field.text not in operators:
            raise not_ours(where, f"the operator {quote(field.text[:80])}")
        if field.number == NODE["domain"] and field.content:
            raise not_ours(where, f"an operator of {quote(field.text[:80])}")
        if field.number == NODE["attribute"]:
            numbers = {part.number for part in read_fields(field.content)}
            if not numbers <= set(_ATTRIBUTE_VALUES):
                raise not_ours(where, "an operator with a tensor or a graph inside")
    texts = {
        number: tuple(field.text for field in fields if field.number == NODE[number])
        for number in ("input", "output", "operator")
    }
    return Operation("".join(texts["operator"]), texts["input"], texts["output"])


def _checked_tensor(tensor: memoryview, parts: _Parts, where: str) -> _Tensor:
    """Return a constant, whose values are in the file and fit its type and shape."""
    shape: list[int] = []
    name, kind, values = "", 0, tensor[:0]
    for field in read_fields(tensor):
        if field.number == TENSOR["external"] or (field.number == TENSOR["location"] and field.integer != 0):
            raise CheckpointError(
                f"{where}: its weights are in another file, which is not opened. Export the checkpoint again: allmlp writes "
                "one file."
            )
        if field.number == TENSOR["dims"]:
            shape += read_integers(field)
        elif field.number == TENSOR["type"]:
            kind = field.integer
        elif field.number == TENSOR["name"]:
            name = field.text
        elif field.number == TENSOR["raw"]:
            values = field.content
        elif field.number != TENSOR["documentation"]:
            raise not_ours(where, f"field {field.number} of a weight")
    item_bytes = parts.of(name).item_bytes
    if kind not in item_bytes:
        raise not_ours(where, f"a weight of ONNX's type {kind}")
    if len(shape) > 8 or math.prod(shape) * item_bytes[kind] != len(values):
        raise ValueError(f"{quote(name[:80])} has {len(values):,} bytes, which do not fit its shape")
    return _Tensor(name, kind, tuple(shape), values)


def name_of(value: memoryview) -> str:
    """Return the name of an input, an output or another value."""
    return next((field.text for field in read_fields(value) if field.number == 1), "")
