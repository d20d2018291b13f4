"""A graph of LiteRT's operators as a FlatBuffer, the content of a .tflite file.

The tables and their numbers are those of LiteRT's schema, whose Python module comes with the package ai-edge-litert.
"""

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Builder", "Finished"]

_FILE_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_ALIGNMENT = 64  # of constants, so that engines use them where they are
_SIGNATURE = "serving_default"  # the name that programs ask for
# The first version of an operator with all that is used here.
_VERSIONS = {"FULLY_CONNECTED": 5, "TRANSPOSE": 6}


class Finished(NamedTuple):
    """A graph, and where the values of its constants are, by name."""

    content: bytes
    starts: Mapping[str, int]


class _Value(NamedTuple):
    """A tensor; B, the number of images, is the first number of the shape of one that is not constant."""

    name: str
    shape: tuple[int, ...]
    constant: NDArray[Any] | None


class _Operation(NamedTuple):
    operator: str
    inputs: list[int]
    output: int
    options: str
    settings: dict[str, Any]


class Builder:
    """Collects operations in the order of computation. Values are numbers; shapes are without B."""

    def __init__(self, schema: Any) -> None:
        """Use `schema`, the module ai_edge_litert.schema_py_generated."""
        self._schema = schema
        self._values: list[_Value] = []
        self._operations: list[_Operation] = []

    def input(self, name: str, shape: tuple[int, ...]) -> int:
        """Add a float32 input (B, *shape)."""
        return self._value(name, shape)

    def constant(self, name: str, values: NDArray[Any]) -> int:
        """Add a constant, int32 or float32."""
        self._values.append(_Value(name, values.shape, values))
        return len(self._values) - 1

    def operation(
        self,
        operator: str,
        name: str,
        inputs: Sequence[int],
        shape: tuple[int, ...],
        options: str = "",
        **settings: Any,
    ) -> int:
        """Add an operation with one output (B, *shape) of the same name; -1 is an input that is left out.

        `options` is the name of the operator's table of settings.
        """
        output = self._value(name, shape)
        self._operations.append(_Operation(operator, list(inputs), output, options, settings))
        return output

    def shape(self, value: int) -> tuple[int, ...]:
        """Return the shape of a value, without B."""
        return self._values[value].shape

    def finish(self, inputs: Sequence[int], outputs: Sequence[int], *, description: str) -> Finished:
        """Return the file of the graph."""
        return _Writer(self._schema, self._values, self._operations).write(inputs, outputs, description)

    def _value(self, name: str, shape: tuple[int, ...]) -> int:
        self._values.append(_Value(name, shape, None))
        return len(self._values) - 1


class _Writer:
    """Writes a FlatBuffer, from the inside out."""

    def __init__(self, schema: Any, values: list[_Value], operations: list[_Operation]) -> None:
        self._schema, self._values, self._operations = schema, values, operations
        size = sum(64 + value.constant.nbytes for value in values if value.constant is not None)
        self._builder: Any = importlib.import_module("flatbuffers").Builder(size + 1024 * (len(values) + 8))
        self._ends: dict[str, int] = {}

    def write(self, inputs: Sequence[int], outputs: Sequence[int], description: str) -> Finished:
        buffers = [self._table("Buffer", {})]
        tensors = []
        for value in self._values:
            number = 0
            if value.constant is not None:
                number = len(buffers)
                buffers.append(self._table("Buffer", {"Data": self._bytes(value.name, value.constant)}))
            tensors.append(self._tensor(value, number))
        names = list(dict.fromkeys(operation.operator for operation in self._operations))
        operations = [self._operation(operation, names) for operation in self._operations]
        subgraph = self._table(
            "SubGraph",
            {
                "Tensors": self._offsets(tensors),
                "Inputs": self._integers(inputs),
                "Outputs": self._integers(outputs),
                "Operators": self._offsets(operations),
                "Name": self._builder.CreateString("main"),
            },
        )
        model = self._table(
            "Model",
            {
                "Version": _SCHEMA_VERSION,
                "OperatorCodes": self._offsets([self._code(name) for name in names]),
                "Subgraphs": self._offsets([subgraph]),
                "Description": self._builder.CreateString(description),
                "Buffers": self._offsets(buffers),
                "SignatureDefs": self._offsets([self._signature(inputs, outputs)]),
            },
        )
        self._builder.Finish(model, file_identifier=_FILE_IDENTIFIER)
        content = bytes(self._builder.Output())
        return Finished(content, {name: len(content) - end for name, end in self._ends.items()})

    def _signature(self, inputs: Sequence[int], outputs: Sequence[int]) -> int:
        maps = [
            self._offsets(
                [
                    self._table(
                        "TensorMap",
                        {"Name": self._builder.CreateString(self._values[value].name), "TensorIndex": value},
                    )
                    for value in values
                ]
            )
            for values in (inputs, outputs)
        ]
        key = self._builder.CreateString(_SIGNATURE)
        return self._table("SignatureDef", {"Inputs": maps[0], "Outputs": maps[1], "SignatureKey": key})

    def _code(self, name: str) -> int:
        number = getattr(self._schema.BuiltinOperator, name)
        old = min(number, self._schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
        values = {"DeprecatedBuiltinCode": old, "Version": _VERSIONS.get(name, 1), "BuiltinCode": number}
        return self._table("OperatorCode", values)

    def _operation(self, operation: _Operation, names: list[str]) -> int:
        values: dict[str, Any] = {
            "OpcodeIndex": names.index(operation.operator),
            "Inputs": self._integers(operation.inputs),
            "Outputs": self._integers([operation.output]),
        }
        if operation.options:
            values["BuiltinOptionsType"] = getattr(self._schema.BuiltinOptions, operation.options)
            values["BuiltinOptions"] = self._table(operation.options, operation.settings)
        return self._table("Operator", values)

    def _tensor(self, value: _Value, buffer: int) -> int:
        kinds = self._schema.TensorType
        values = {"Buffer": buffer, "Name": self._builder.CreateString(value.name), "HasRank": True}
        if value.constant is None:
            values |= {"Shape": self._integers((1, *value.shape)), "ShapeSignature": self._integers((-1, *value.shape))}
        else:
            values["Shape"] = self._integers(value.shape)
        is_integer = value.constant is not None and value.constant.dtype == np.int32
        return self._table("Tensor", {**values, "Type": kinds.INT32 if is_integer else kinds.FLOAT32})

    def _table(self, name: str, values: Mapping[str, Any]) -> int:
        getattr(self._schema, f"{name}Start")(self._builder)
        for field, value in values.items():
            getattr(self._schema, f"{name}Add{field}")(self._builder, value)
        offset: int = getattr(self._schema, f"{name}End")(self._builder)
        return offset

    def _offsets(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        end: int = self._builder.EndVector()
        return end

    def _integers(self, numbers: Sequence[int]) -> int:
        end: int = self._builder.CreateNumpyVector(np.array(numbers, "<i4"))
        return end

    def _bytes(self, name: str, values: NDArray[Any]) -> int:
        """Add the values of a constant, aligned, which CreateByteVector does not do."""
        builder, num_bytes = self._builder, values.nbytes
        builder.StartVector(1, num_bytes, _ALIGNMENT)
        builder.head -= num_bytes
        builder.Bytes[builder.head : builder.head + num_bytes] = np.ascontiguousarray(values).tobytes()
        self._ends[name] = builder.Offset()
        assert math.prod(values.shape) * values.itemsize == num_bytes
        end: int = builder.EndVector()
        return end
