"""Pillow's resize as nodes of an ONNX graph: its coefficients in float64, bit for bit.

Source: Pillow, libImaging/Resample.c. Letters as in `pixels`.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Preprocessing

__all__ = ["DOUBLE", "FLOAT", "INT64", "PREFIX", "UINT8", "Axis", "Graph", "PixelNodes", "exact_levels"]

PREFIX = "pixels."
"""Of the names of all nodes and constants of the pixel part."""

# Numbers of ONNX's types.
FLOAT, UINT8, INT64, DOUBLE = 1, 2, 7, 11

_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}  # of a filter, in pixels
_FIXED_POINT = float(1 << 22)  # Pillow's coefficients are integers, of which this is 1
_BOX_RATIO = 16  # of the areas of the scaled photo and of the image; `Preprocessing._resize_box`


class Graph(Protocol):
    """What nodes are added to. Both methods return the name of the value."""

    def node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node with one output of the same name."""

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant of type float32, float64, int64 or uint8."""


class Axis(NamedTuple):
    """One axis of the photo: names of scalars in float64, and the length of the image.

    length: of the photo, in pixels. scaled: that of the scaled photo. start: where the image starts in it; negative with a
    margin.
    """

    name: str
    length: str
    scaled: str
    start: str
    out: int


class PixelNodes:
    """Adds nodes of the pixel part to a graph, each with one output of the same name, and every constant once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._constants: dict[str, str] = {}

    def node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node, and return the name of its value."""
        return self._graph.node(operator, PREFIX + name, inputs, **attributes)

    def double(self, number: float) -> str:
        """Return a scalar in float64."""
        return self.constant(f"double.{float(number)}", np.array(number, np.float64))

    def single(self, number: float) -> str:
        """Return a scalar in float32."""
        return self.constant(f"float.{float(number)}", np.array(number, np.float32))

    def integer(self, number: int) -> str:
        """Return a scalar in int64."""
        return self.constant(f"int.{number}", np.array(number, np.int64))

    def integers(self, *numbers: int) -> str:
        """Return a vector in int64."""
        return self.constant(f"ints.{'.'.join(map(str, numbers))}", np.array(numbers, np.int64))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Return a constant; another one of the same name is the same."""
        if name not in self._constants:
            self._constants[name] = self._graph.constant(f"{PREFIX}constant.{name}", values)
        return self._constants[name]


def exact_levels(nodes: PixelNodes, preprocessing: Preprocessing, planes: str, height: Axis, width: Axis) -> str:
    """Return the levels (B, 3, H, W) uint8 of planes (B, 3, h, w) uint8, by two dense products, the width first.

    The sums of the products are integers, which float64 holds exactly. In a margin, the levels have no meaning.
    """
    return _Resize(nodes, preprocessing).levels(planes, height, width)


class _Resize:
    """Both passes. Methods return the name of their value."""

    def __init__(self, nodes: PixelNodes, preprocessing: Preprocessing) -> None:
        self._nodes = nodes
        self._preprocessing = preprocessing

    def levels(self, planes: str, height: Axis, width: Axis) -> str:
        """Return the levels (B, 3, H, W)."""
        rows = self._coefficients(height, width)  # (H, h)
        columns = self._coefficients(width, height)  # (W, w)
        columns = self._nodes.node("Transpose", "width.columns", [columns], perm=[1, 0])  # (w, W)
        levels = self._nodes.node("Cast", "levels", [planes], to=DOUBLE)
        for name, terms in (("width", (None, columns)), ("height", (rows, None))):
            product = self._nodes.node("MatMul", f"{name}.sum", [levels if term is None else term for term in terms])
            half = self._nodes.node("Add", f"{name}.plus_half", [product, self._nodes.double(_FIXED_POINT / 2)])
            shifted = self._nodes.node("Mul", f"{name}.shift", [half, self._nodes.double(1 / _FIXED_POINT)])
            floor = self._nodes.node("Floor", f"{name}.floor", [shifted])
            levels = self._nodes.node("Clip", f"{name}.levels", [floor, self._nodes.double(0), self._nodes.double(255)])
        return self._nodes.node("Cast", "exact", [levels], to=UINT8)

    def _coefficients(self, axis: Axis, other: Axis) -> str:
        """Return the coefficients (out, length) of one axis as whole numbers in float64: `precompute_coeffs` of Pillow."""

        def do(operator: str, name: str, *terms: str, **attributes: Any) -> str:
            return self._nodes.node(operator, f"{axis.name}.{name}", list(terms), **attributes)

        half = self._nodes.double(0.5)
        origin, scale, start = self._geometry(axis, other)
        reduction = do("Max", "reduction", scale, self._nodes.double(1))
        support = do("Mul", "support", reduction, self._nodes.double(_SUPPORT[self._preprocessing.interpolation]))
        outputs = do("Range", "outputs", self._nodes.double(0), self._nodes.double(axis.out), self._nodes.double(1))
        middles = do("Add", "middles", do("Add", "indices", outputs, start), half)
        centres = do("Add", "centres", do("Mul", "positions", middles, scale), origin)
        centres = do("Reshape", "centre", centres, self._nodes.integers(axis.out, 1))  # (out, 1)
        first = do("Floor", "lower", do("Add", "lower_half", do("Sub", "lowest", centres, support), half))
        end = do("Floor", "upper", do("Add", "upper_half", do("Add", "highest", centres, support), half))
        inputs = do("Range", "inputs", self._nodes.double(0), axis.length, self._nodes.double(1))  # (length,)
        # first <= x, of whole numbers.
        is_after = do("Less", "is_after", do("Sub", "before_first", first, self._nodes.double(1)), inputs)
        is_used = do("And", "is_used", is_after, do("Less", "is_before", inputs, end))  # (out, length)
        distances = do("Sub", "distances", inputs, centres)
        inverse = do("Div", "inverse", self._nodes.double(1), reduction)
        x = do("Abs", "x", do("Mul", "scaled_distances", do("Add", "from_centre", distances, half), inverse))
        weights = do("Where", "weights", is_used, self._filter(axis.name, x), self._nodes.double(0))
        # A cumulative sum adds from left to right, as Pillow does; another order may round differently.
        total = do(
            "Gather",
            "total",
            do("CumSum", "cumulative", weights, self._nodes.integer(1)),
            self._nodes.integers(-1),
            axis=1,
        )
        total = do(
            "Where", "divisor", do("Equal", "is_empty", total, self._nodes.double(0)), self._nodes.double(1), total
        )
        parts = do("Mul", "fixed", do("Div", "normalised", weights, total), self._nodes.double(_FIXED_POINT))
        sizes = do("Floor", "rounded_sizes", do("Add", "sizes_half", do("Abs", "sizes", parts), half))
        return do("Mul", "coefficients", sizes, do("Sign", "signs", parts))

    def _geometry(self, axis: Axis, other: Axis) -> tuple[str, str, str]:
        """Return the origin in the photo, photo pixels per scaled pixel, and the index of the first output."""

        def do(operator: str, name: str, *terms: str, **attributes: Any) -> str:
            return self._nodes.node(operator, f"{axis.name}.{name}", list(terms), **attributes)

        scale = do("Div", "scale", axis.length, axis.scaled)
        if self._preprocessing.fit == "pad":
            return self._nodes.double(0), scale, axis.start
        # Long panoramas, as `Preprocessing._resize_box`: Pillow takes the box in float32.
        area = do("Mul", "area", axis.scaled, other.scaled)
        H, W = self._preprocessing.image_size
        is_box = do("Less", "is_box", self._nodes.double(_BOX_RATIO * H * W), area)
        end = do("Mul", "box.end", do("Add", "box.last", axis.start, self._nodes.double(axis.out)), scale)
        sides = {"first": do("Mul", "box.start", axis.start, scale), "end": do("Min", "box.least", end, axis.length)}
        narrow = {name: do("Cast", f"box.{name}.narrow", value, to=FLOAT) for name, value in sides.items()}
        length = do("Sub", "box.length.narrow", narrow["end"], narrow["first"])
        box_scale = do("Div", "box.scale", do("Cast", "box.length", length, to=DOUBLE), self._nodes.double(axis.out))
        box_start = do("Cast", "box.first", narrow["first"], to=DOUBLE)
        return (
            do("Where", "origin", is_box, box_start, self._nodes.double(0)),
            do("Where", "step", is_box, box_scale, scale),
            do("Where", "index", is_box, self._nodes.double(0), axis.start),
        )

    def _filter(self, axis: str, x: str) -> str:
        """Return Pillow's filter of x >= 0, in its order of operations."""

        def do(operator: str, name: str, *terms: str) -> str:
            return self._nodes.node(operator, f"{axis}.filter.{name}", list(terms))

        def below(number: float, inside: str, outside: str, name: str) -> str:
            return do("Where", name, do("Less", f"{name}.is_below", x, self._nodes.double(number)), inside, outside)

        zero, one = self._nodes.double(0), self._nodes.double(1)
        if self._preprocessing.interpolation == "bilinear":
            return below(1, do("Sub", "line", one, x), zero, "bilinear")
        near = do("Sub", "near.1", do("Mul", "near.0", x, self._nodes.double(1.5)), self._nodes.double(2.5))
        near = do("Add", "near.4", do("Mul", "near.3", do("Mul", "near.2", near, x), x), one)
        far = do("Mul", "far.1", do("Sub", "far.0", x, self._nodes.double(5)), x)
        far = do("Mul", "far.3", do("Add", "far.2", far, self._nodes.double(8)), x)
        far = do("Mul", "far.5", do("Sub", "far.4", far, self._nodes.double(4)), self._nodes.double(-0.5))
        return below(1, near, below(2, far, zero, "far"), "bicubic")
