"""TensorFlow's resize without antialiasing as nodes of an ONNX graph, for the laws of the authors' code, bit for bit.

Every operation is that of data/resizing/tensorflow.py, in float32 and in its order. Only what is kept of the scaled photo is
computed. Letters as in `pixels`; n pixels of the photo overlap one of the image, at most.
"""

from typing import Any

from allmlp.data import Preprocessing
from allmlp.exports.onnx_model.pillow import FLOAT, INT64, UINT8, Axis, PixelNodes

__all__ = ["authors_levels"]

_ROWS, _COLUMNS = 2, 3  # axes of (B, 3, h, w)


def authors_levels(nodes: PixelNodes, preprocessing: Preprocessing, planes: str, height: Axis, width: Axis) -> str:
    """Return the levels (B, 3, H, W) uint8 of planes (B, 3, h, w) uint8, as `Preprocessing` with the authors' laws."""
    by_area = preprocessing.law == "big_vision" and preprocessing.fit == "crop"
    values = (_by_area if by_area else _bilinear)(nodes, planes, height, width)
    if preprocessing.law == "vit_jax":
        levels = nodes.node("Round", "authors.rounded", [values])
    else:
        ends = [nodes.single(0), nodes.single(255)]
        levels = nodes.node("Floor", "authors.floor", [nodes.node("Clip", "authors.clipped", [values, *ends])])
    return nodes.node("Cast", "authors.levels", [levels], to=UINT8)


class _AxisNodes:
    """Adds nodes of one axis. `length` and `scale`, photo pixels per scaled pixel, are scalars in float32."""

    def __init__(self, nodes: PixelNodes, axis: Axis) -> None:
        self.nodes, self.axis = nodes, axis
        self.length = self.do("Cast", "length", axis.length, to=FLOAT)
        self.scale = self.do("Div", "step", self.length, self.do("Cast", "side", axis.scaled, to=FLOAT))
        outputs = self.do("Range", "outputs", nodes.single(0), nodes.single(axis.out), nodes.single(1))
        self.indices = self.do("Add", "indices", outputs, self.do("Cast", "skipped", axis.start, to=FLOAT))  # (out,)
        self.last = self.do("Sub", "last", self.length, nodes.single(1))

    def do(self, operator: str, name: str, *terms: str, **attributes: Any) -> str:
        return self.nodes.node(operator, f"authors.{self.axis.name}.{name}", list(terms), **attributes)

    def gather(self, name: str, values: str, indices: str, axis: int) -> str:
        whole = self.do("Cast", f"{name}.indices", indices, to=INT64)
        return self.do("Gather", name, values, whole, axis=axis)

    def column(self, name: str, values: str) -> str:
        return self.do("Reshape", name, values, self.nodes.integers(-1, 1))

    def neighbours(self) -> tuple[str, str, str]:
        """Return, for each pixel of the image, the pixel before, the one after, and the weight of the latter, all (out,)."""
        half = self.nodes.single(0.5)
        centres = self.do("Add", "centres", self.indices, half)
        positions = self.do("Sub", "positions", self.do("Mul", "scaled", centres, self.scale), half)
        floor = self.do("Floor", "floor", positions)
        before = self.do("Max", "before", floor, self.nodes.single(0))
        after = self.do("Min", "after", self.do("Ceil", "ceil", positions), self.last)
        return before, after, self.do("Sub", "weight", positions, floor)

    def overlaps(self) -> tuple[str, str]:
        """Return the photo's pixels (out, n) that each pixel of the image overlaps, and their weights, the lengths."""
        begins = self.column("begins", self.do("Mul", "begin", self.indices, self.scale))  # (out, 1)
        following = self.do("Add", "following", self.indices, self.nodes.single(1))
        ends = self.column("ends", self.do("Mul", "end", following, self.scale))
        # Two more than needed, as either end may be rounded beyond a pixel. These have the weight 0.
        num_pixels = self.do("Add", "num_pixels", self.do("Ceil", "whole_step", self.scale), self.nodes.single(2))
        numbers = self.do("Range", "numbers", self.nodes.single(0), num_pixels, self.nodes.single(1))
        left = self.do("Add", "left", self.do("Floor", "first", begins), numbers)  # (out, n)
        right = self.do("Add", "right", left, self.nodes.single(1))
        is_before = self.do("Less", "is_before", left, begins)
        is_beyond = self.do("Less", "is_beyond", ends, right)
        first = self.do("Where", "first_weight", is_beyond, self.scale, self.do("Sub", "from_begin", right, begins))
        rest = self.do("Where", "rest_weight", is_beyond, self.do("Sub", "to_end", ends, left), self.nodes.single(1))
        weights = self.do("Where", "any_weight", is_before, first, rest)
        is_used = self.do("Less", "is_used", left, self.do("Ceil", "stop", ends))
        weights = self.do("Where", "weights", is_used, weights, self.nodes.single(0))
        return self.do("Min", "pixels", left, self.last), weights


def _bilinear(nodes: PixelNodes, planes: str, height: Axis, width: Axis) -> str:
    rows, columns = _AxisNodes(nodes, height), _AxisNodes(nodes, width)
    above, below, down = rows.neighbours()
    left, right, across = columns.neighbours()

    def between(name: str, weight: str, start: str, end: str) -> str:
        difference = nodes.node("Sub", f"authors.{name}.difference", [end, start])
        share = nodes.node("Mul", f"authors.{name}.share", [difference, weight])
        return nodes.node("Add", f"authors.{name}", [start, share])

    lines = []
    for name, indices in (("above", above), ("below", below)):
        chosen = rows.do("Cast", f"{name}.levels", rows.gather(name, planes, indices, _ROWS), to=FLOAT)  # (B, 3, H, w)
        ends = [
            columns.gather(f"{name}.{side}", chosen, at, _COLUMNS) for side, at in (("left", left), ("right", right))
        ]
        lines.append(between(f"{name}.line", across, ends[0], ends[1]))  # (B, 3, H, W)
    return between("values", rows.column("down", down), lines[0], lines[1])


def _by_area(nodes: PixelNodes, planes: str, height: Axis, width: Axis) -> str:
    rows, columns = _AxisNodes(nodes, height), _AxisNodes(nodes, width)
    values = nodes.node("Cast", "authors.planes", [planes], to=FLOAT)
    # A cumulative sum adds from left to right, or from top to bottom, as TensorFlow does.
    pixels, weights = columns.overlaps()
    chosen = columns.gather("chosen", values, pixels, _COLUMNS)  # (B, 3, h, W, n)
    sums = columns.do("CumSum", "cumulative", columns.do("Mul", "parts", chosen, weights), nodes.integer(4))
    sums = columns.do("Gather", "sums", sums, nodes.integer(-1), axis=4)  # (B, 3, h, W)
    pixels, weights = rows.overlaps()
    weights = rows.do("Reshape", "weights.column", weights, nodes.integers(height.out, -1, 1))
    chosen = rows.gather("chosen", sums, pixels, _ROWS)  # (B, 3, H, n, W)
    sums = rows.do("CumSum", "cumulative", rows.do("Mul", "parts", chosen, weights), nodes.integer(3))
    sums = rows.do("Gather", "sums", sums, nodes.integer(-1), axis=3)  # (B, 3, H, W)
    area = nodes.node("Mul", "authors.area", [rows.scale, columns.scale])
    share = nodes.node("Div", "authors.share", [nodes.single(1), area])
    # Between them, so that ONNX Runtime does not replace product and quotient by a quotient, which rounds otherwise.
    share = nodes.node("Reshape", "authors.share.row", [share, nodes.integers(1)])
    return nodes.node("Mul", "authors.mean", [sums, share])
