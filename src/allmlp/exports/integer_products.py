"""Which weights of an int8 graph multiply in integers: found by how its operations are connected, whatever their names are."""

from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

__all__ = ["Operation", "integer_weights"]

_PRODUCTS = frozenset({"MatMul", "Gemm"})
_QUANTISED = frozenset({"DequantizeLinear", "FakeQuantize"})
# Engines move the change to integers past these, or make a weight of its integers with them.
_MOVES = frozenset({"Reshape", "Transpose", "Cast", "Mul", "Convert", "Multiply", "Subtract", "Squeeze", "Unsqueeze"})
_INPUT = ""
"""Stands for values that are quantised while the graph runs; no weight has this name."""


class Operation(NamedTuple):
    """An operation by the names of its values."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def integer_weights(operations: Iterable[Operation], weights: Set[str]) -> set[str]:
    """Return those of `weights`, the constants in int8, that engines multiply with quantised inputs in integers.

    Raises:
        ValueError: a product of two values that are both quantised while the graph runs, or a circle.
    """
    listed = list(operations)
    producers = {output: operation for operation in listed for output in operation.outputs}
    known: dict[str, frozenset[str]] = {}
    found: set[str] = set()
    for operation in listed:
        if operation.operator in _PRODUCTS:
            left, right = (_origins(value, producers, weights, known) for value in operation.inputs[:2])
            if _INPUT in left and _INPUT in right:
                raise ValueError("a product of two quantised inputs")
            if _INPUT in left or _INPUT in right:
                found |= (left | right) - {_INPUT}
    return found


def _origins(
    value: str, producers: Mapping[str, Operation], weights: Set[str], known: dict[str, frozenset[str]]
) -> frozenset[str]:
    """Return the weights, or `_INPUT`, that a value is, but for its scale, its order and its shape."""
    pending, entered = [value], set()
    while pending:
        current = pending[-1]
        operation = producers.get(current)
        if current in known:
            pending.pop()
        elif current in weights:
            known[current] = frozenset({current})
        elif operation is None or operation.operator not in _MOVES | _QUANTISED:
            known[current] = frozenset()
        elif missing := [each for each in operation.inputs if each not in known]:
            if current in entered:
                raise ValueError("the graph has a circle")
            entered.add(current)
            pending += missing
        else:
            origins = frozenset().union(*(known[each] for each in operation.inputs))
            is_input = operation.operator in _QUANTISED and not origins
            known[current] = frozenset({_INPUT}) if is_input else origins
    return known[value]
