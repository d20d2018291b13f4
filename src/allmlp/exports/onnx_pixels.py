"""The part of an ONNX graph that turns photos of any size into the images of a Mixer, as `Preprocessing` does.

Letters: B photos of h × w pixels; the image has H × W pixels, cut out of a scaled photo. Sizes are computed in the graph, in
float64 as in Python, so that they are those of `data.laws.scaled_size`. All names start with "pixels.".
"""

from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Preprocessing, scaled_size
from allmlp.errors import ConfigError, did_you_mean
from allmlp.io.display import quote

__all__ = ["IMAGES", "PHOTOS", "PIXELS", "PIXEL_OPERATORS", "Pixels", "add_pixels", "check_pixels", "is_pixel_name"]

Pixels = Literal["out", "in", "exact"]
"""Where photos become images: outside of a file, in its graph, or in its graph bit for bit as allmlp does it."""

PIXELS: tuple[Pixels, ...] = ("out", "in", "exact")

PHOTOS = "photos"
"""The input of a graph with the pixels inside, uint8 (B, h, w, 3)."""

IMAGES = "images"
"""The input of a Mixer, float32 (B, 3, H, W): that of the graph, or the last value of its pixel part."""

PIXEL_OPERATORS = frozenset(
    {
        *("Abs", "Add", "And", "Cast", "Clip", "Concat", "CumSum", "Div", "Equal", "Floor", "Gather", "Less", "MatMul"),
        *("Max", "Min", "Mul", "Pad", "Range", "Reshape", "Resize", "Round", "Shape", "Sign", "Slice", "Sub"),
        *("Transpose", "Where"),
    }
)
"""All operators that the pixel part of a graph may have."""

_PREFIX = "pixels."
_LAWS = ("allmlp", "timm")  # Pillow's filters
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}  # of a filter, in pixels
_FIXED_POINT = float(1 << 22)  # Pillow's coefficients are integers, of which this is 1
_BOX_RATIO = 16  # of the areas of the scaled photo and of the image; `Preprocessing._resize_box`
# Numbers of ONNX's types.
_FLOAT, _UINT8, _INT64, _DOUBLE = 1, 2, 7, 11


class Graph(Protocol):
    """What nodes are added to. Both methods return the name of the value."""

    def node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node with one output of the same name."""

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant of type float32, float64, int64 or uint8."""


class _Axis(NamedTuple):
    """One axis of the photo: names of scalars in float64, and the length of the image.

    length: of the photo, in pixels. scaled: that of the scaled photo. start: where the image starts in it; negative with a
    margin.
    """

    name: str
    length: str
    scaled: str
    start: str
    out: int


def check_pixels(pixels: object, preprocessing: Preprocessing | None = None) -> Pixels:
    """Return where photos become images.

    Raises:
        ConfigError: an unknown word, or pre-processing whose law no graph computes.
    """
    if not isinstance(pixels, str) or pixels not in PIXELS:
        hint = did_you_mean(pixels, PIXELS) if isinstance(pixels, str) else ""
        raise ConfigError(f"pixels is {quote(pixels)}; expected one of {', '.join(PIXELS)}.{hint}")
    if preprocessing is not None and pixels != "out" and preprocessing.law not in _LAWS:
        raise ConfigError(
            f"This model's pre-processing follows the law {preprocessing.law!r}, which resizes without antialiasing as the "
            f"authors' code does; the graph of pixels={pixels!r} has only the laws {' and '.join(map(repr, _LAWS))}. Export "
            "with pixels='out', and pre-process outside; or choose law='allmlp', which changes the pixels: evaluate it first."
        )
    return cast("Pixels", pixels)


def is_pixel_name(name: str) -> bool:
    """Return whether a node or a constant belongs to the pixel part."""
    return name.startswith(_PREFIX) or name == IMAGES


def add_pixels(graph: Graph, preprocessing: Preprocessing, pixels: Pixels) -> None:
    """Add the nodes between `PHOTOS`, uint8 (B, h, w, 3), and `IMAGES`, float32 (B, 3, H, W).

    "in" resizes with the engine's `Resize`, the nearest to Pillow that ONNX has; "exact" with Pillow's coefficients in float64.
    Source of these: Pillow, libImaging/Resample.c. Levels are rounded after each of the two passes, the width first.
    """
    _PixelGraph(graph, preprocessing).build(pixels)


class _PixelGraph:
    """The nodes of the pixel part. Methods return the name of their value."""

    def __init__(self, graph: Graph, preprocessing: Preprocessing) -> None:
        self._graph = graph
        self._preprocessing = preprocessing
        self._constants: dict[str, str] = {}

    def build(self, pixels: Pixels) -> None:
        planes = self._node("Transpose", "planes", [PHOTOS], perm=[0, 3, 1, 2])  # (B, 3, h, w)
        axes = self._axes()
        levels = (self._exact if pixels == "exact" else self._resized)(planes, *axes)  # (B, 3, H, W) uint8
        self._normalise(levels)

    def _axes(self) -> tuple[_Axis, _Axis]:
        """Return the axes of the height and of the width."""
        shape = self._node("Shape", "shape", [PHOTOS])
        lengths = []
        for number, name in enumerate(("height", "width"), start=1):
            side = self._node("Gather", f"{name}.int", [shape, self._int(number)], axis=0)
            lengths.append(self._node("Cast", name, [side], to=_DOUBLE))
        scaled = self._scaled(*lengths)
        axes = []
        for name, length, side, out in zip(
            ("height", "width"), lengths, scaled, self._preprocessing.image_size, strict=True
        ):
            axes.append(_Axis(name, length, side, self._start(name, side, out), out))
        return axes[0], axes[1]

    def _scaled(self, height: str, width: str) -> tuple[str, str]:
        """Return the size to which a photo is scaled: `data.laws.scaled_size`, operation by operation."""
        p = self._preprocessing
        target = scaled_size(p.law, "squash", p.image_size, p.crop_fraction, (1, 1))
        if p.fit == "squash":
            return self._double(target[0]), self._double(target[1])
        sides = tuple(zip(("height", "width"), (height, width), target, strict=True))
        if p.law == "timm" and p.fit == "crop" and target[0] == target[1]:
            longest, shortest = (
                self._node(operator, f"{operator.lower()}_side", [height, width]) for operator in ("Max", "Min")
            )
            product = self._node("Mul", "longer.product", [longest, self._double(target[0])])
            longer = self._node("Floor", "longer", [self._node("Div", "longer.ratio", [product, shortest])])
            is_wide = self._node("Equal", "is_wide", [height, shortest])
            other = self._double(target[0])
            return (
                self._node("Where", "height.scaled", [is_wide, other, longer]),
                self._node("Where", "width.scaled", [is_wide, longer, other]),
            )
        is_timm = p.law == "timm"  # which divides by photo / target
        ratios = []
        for name, length, side in sides:
            terms = [length, self._double(side)] if is_timm else [self._double(side), length]
            ratios.append(self._node("Div", f"{name}.ratio", terms))
        ratio = self._node("Max" if (p.fit == "pad") == is_timm else "Min", "ratio", ratios)
        scaled = []
        for name, length, side in sides:
            product = self._node("Div" if is_timm else "Mul", f"{name}.product", [length, ratio])
            least = side if p.fit == "crop" and not is_timm else 1
            rounded = self._node("Round", f"{name}.rounded", [product])
            scaled.append(self._node("Max", f"{name}.scaled", [rounded, self._double(least)]))
        return scaled[0], scaled[1]

    def _start(self, name: str, scaled: str, out: int) -> str:
        """Return where the image starts in the scaled photo; negative if the photo is smaller (`crop_offset`, `_pad`)."""
        p = self._preprocessing
        terms = [self._double(out), scaled] if p.fit == "pad" else [scaled, self._double(out)]
        spare = self._node("Sub", f"{name}.spare", terms)
        half = self._node("Mul", f"{name}.half", [spare, self._double(0.5)])
        operator = "Round" if p.law == "timm" and p.fit != "pad" else "Floor"
        start = self._node(operator, f"{name}.offset", [half])
        return self._node("Mul", f"{name}.start", [start, self._double(-1.0)]) if p.fit == "pad" else start

    def _resized(self, planes: str, height: _Axis, width: _Axis) -> str:
        """Resize with ONNX's `Resize` on uint8, which rounds after each pass, then cut or pad."""
        sizes = [self._to_ints(f"{axis.name}.size", axis.scaled) for axis in (height, width)]
        # Of all four axes: with the attribute `axes`, ONNX Runtime 1.32 fails when it moves the transposition behind a linear
        # Resize.
        batch = self._node(
            "Reshape", "batch", [self._node("Gather", "batch.int", [f"{_PREFIX}shape", self._int(0)]), self._ints(1)]
        )
        whole = self._node(
            "Resize",
            "resized",
            [planes, "", "", self._node("Concat", "size", [batch, self._ints(3), *sizes], axis=0)],
            mode="cubic" if self._preprocessing.interpolation == "bicubic" else "linear",
            cubic_coeff_a=-0.5,
            antialias=1,
            exclude_outside=1,
            coordinate_transformation_mode="half_pixel",
        )
        starts = [self._to_ints(f"{axis.name}.first", axis.start) for axis in (height, width)]
        if self._preprocessing.fit == "pad":
            return self._padded(whole, starts, height, width)
        lengths = [self._ints(axis.out) for axis in (height, width)]
        ends = [
            self._node("Add", f"{axis.name}.end", [start, out])
            for axis, start, out in zip((height, width), starts, lengths, strict=True)
        ]
        first, last = (
            self._node("Concat", name, values, axis=0) for name, values in (("first", starts), ("end", ends))
        )
        cut = self._node("Slice", "cut", [whole, first, last, self._ints(2, 3)])
        return self._static(cut)

    def _padded(self, whole: str, starts: list[str], height: _Axis, width: _Axis) -> str:
        before, after = [], []
        for axis, start in zip((height, width), starts, strict=True):
            margin = self._node("Sub", f"{axis.name}.before", [self._ints(0), start])
            rest = self._node("Sub", f"{axis.name}.rest", [self._ints(axis.out), margin])
            size = f"{_PREFIX}{axis.name}.size"
            before.append(margin)
            after.append(self._node("Sub", f"{axis.name}.after", [rest, size]))
        margins = self._node("Concat", "margins", [*before, *after], axis=0)
        black = self._constant("black", np.array(0, np.uint8))
        padded = self._node("Pad", "padded", [whole, margins, black, self._ints(2, 3)])
        return self._on_mean_colour(self._static(padded), height, width)

    def _exact(self, planes: str, height: _Axis, width: _Axis) -> str:
        """Resize by two dense products with Pillow's coefficients, whose sums are integers that float64 holds exactly."""
        rows = self._coefficients(height, width)  # (H, h)
        columns = self._coefficients(width, height)  # (W, w)
        columns = self._node("Transpose", "width.columns", [columns], perm=[1, 0])  # (w, W)
        levels = self._node("Cast", "levels", [planes], to=_DOUBLE)
        for name, terms in (("width", (None, columns)), ("height", (rows, None))):
            product = self._node("MatMul", f"{name}.sum", [levels if term is None else term for term in terms])
            half = self._node("Add", f"{name}.plus_half", [product, self._double(_FIXED_POINT / 2)])
            floor = self._node(
                "Floor", f"{name}.floor", [self._node("Mul", f"{name}.shift", [half, self._double(1 / _FIXED_POINT)])]
            )
            levels = self._node("Clip", f"{name}.levels", [floor, self._double(0), self._double(255)])
        levels = self._node("Cast", "exact", [levels], to=_UINT8)  # (B, 3, H, W)
        return self._on_mean_colour(levels, height, width) if self._preprocessing.fit == "pad" else levels

    def _coefficients(self, axis: _Axis, other: _Axis) -> str:
        """Return the coefficients (out, length) of one axis as whole numbers in float64: `precompute_coeffs` of Pillow."""

        def do(operator: str, name: str, *terms: str, **attributes: Any) -> str:
            return self._node(operator, f"{axis.name}.{name}", list(terms), **attributes)

        half = self._double(0.5)
        origin, scale, start = self._geometry(axis, other)
        reduction = do("Max", "reduction", scale, self._double(1))
        support = do("Mul", "support", reduction, self._double(_SUPPORT[self._preprocessing.interpolation]))
        outputs = do("Range", "outputs", self._double(0), self._double(axis.out), self._double(1))
        middles = do("Add", "middles", do("Add", "indices", outputs, start), half)
        centres = do("Add", "centres", do("Mul", "positions", middles, scale), origin)
        centres = do("Reshape", "centre", centres, self._ints(axis.out, 1))  # (out, 1)
        first = do("Floor", "lower", do("Add", "lower_half", do("Sub", "lowest", centres, support), half))
        end = do("Floor", "upper", do("Add", "upper_half", do("Add", "highest", centres, support), half))
        inputs = do("Range", "inputs", self._double(0), axis.length, self._double(1))  # (length,)
        # x < first - 0 as not (x < first): of whole numbers, first - 1 < x.
        is_after = do("Less", "is_after", do("Sub", "before_first", first, self._double(1)), inputs)
        is_used = do("And", "is_used", is_after, do("Less", "is_before", inputs, end))  # (out, length)
        distances = do("Sub", "distances", inputs, centres)
        inverse = do("Div", "inverse", self._double(1), reduction)
        x = do("Abs", "x", do("Mul", "scaled_distances", do("Add", "from_centre", distances, half), inverse))
        weights = do("Where", "weights", is_used, self._filter(axis.name, x), self._double(0))
        # A cumulative sum adds from left to right, as Pillow does; another order may round differently.
        total = do("Gather", "total", do("CumSum", "cumulative", weights, self._int(1)), self._ints(-1), axis=1)
        total = do("Where", "divisor", do("Equal", "is_empty", total, self._double(0)), self._double(1), total)
        parts = do("Mul", "fixed", do("Div", "normalised", weights, total), self._double(_FIXED_POINT))
        sizes = do("Floor", "rounded_sizes", do("Add", "sizes_half", do("Abs", "sizes", parts), half))
        return do("Mul", "coefficients", sizes, do("Sign", "signs", parts))

    def _geometry(self, axis: _Axis, other: _Axis) -> tuple[str, str, str]:
        """Return the origin in the photo, photo pixels per scaled pixel, and the index of the first output."""

        def do(operator: str, name: str, *terms: str, **attributes: Any) -> str:
            return self._node(operator, f"{axis.name}.{name}", list(terms), **attributes)

        scale = do("Div", "scale", axis.length, axis.scaled)
        if self._preprocessing.fit == "pad":
            return self._double(0), scale, axis.start
        # Long panoramas, as `Preprocessing._resize_box`: Pillow takes the box in float32.
        area = do("Mul", "area", axis.scaled, other.scaled)
        H, W = self._preprocessing.image_size
        is_box = do("Less", "is_box", self._double(_BOX_RATIO * H * W), area)
        end = do("Mul", "box.end", do("Add", "box.last", axis.start, self._double(axis.out)), scale)
        sides = {"first": do("Mul", "box.start", axis.start, scale), "end": do("Min", "box.least", end, axis.length)}
        narrow = {name: do("Cast", f"box.{name}.narrow", value, to=_FLOAT) for name, value in sides.items()}
        length = do("Sub", "box.length.narrow", narrow["end"], narrow["first"])
        box_scale = do("Div", "box.scale", do("Cast", "box.length", length, to=_DOUBLE), self._double(axis.out))
        box_start = do("Cast", "box.first", narrow["first"], to=_DOUBLE)
        return (
            do("Where", "origin", is_box, box_start, self._double(0)),
            do("Where", "step", is_box, box_scale, scale),
            do("Where", "index", is_box, self._double(0), axis.start),
        )

    def _filter(self, axis: str, x: str) -> str:
        """Return Pillow's filter of x >= 0, in its order of operations."""

        def do(operator: str, name: str, *terms: str) -> str:
            return self._node(operator, f"{axis}.filter.{name}", list(terms))

        def below(number: float, inside: str, outside: str, name: str) -> str:
            return do("Where", name, do("Less", f"{name}.is_below", x, self._double(number)), inside, outside)

        zero, one = self._double(0), self._double(1)
        if self._preprocessing.interpolation == "bilinear":
            return below(1, do("Sub", "line", one, x), zero, "bilinear")
        near = do("Sub", "near.1", do("Mul", "near.0", x, self._double(1.5)), self._double(2.5))
        near = do("Add", "near.4", do("Mul", "near.3", do("Mul", "near.2", near, x), x), one)
        far = do("Mul", "far.1", do("Sub", "far.0", x, self._double(5)), x)
        far = do("Mul", "far.3", do("Add", "far.2", far, self._double(8)), x)
        far = do("Mul", "far.5", do("Sub", "far.4", far, self._double(4)), self._double(-0.5))
        return below(1, near, below(2, far, zero, "far"), "bicubic")

    def _on_mean_colour(self, levels: str, height: _Axis, width: _Axis) -> str:
        """Replace what is not covered by the scaled photo by the mean colour."""
        covered = []
        for axis, shape in zip((height, width), ((-1, 1), (1, -1)), strict=True):
            outputs = self._node(
                "Range", f"{axis.name}.margin.outputs", [self._double(0), self._double(axis.out), self._double(1)]
            )
            indices = self._node("Add", f"{axis.name}.margin.indices", [outputs, axis.start])
            is_after = self._node("Less", f"{axis.name}.margin.is_after", [self._double(-1), indices])
            is_before = self._node("Less", f"{axis.name}.margin.is_before", [indices, axis.scaled])
            inside = self._node("And", f"{axis.name}.margin.inside", [is_after, is_before])
            covered.append(self._node("Reshape", f"{axis.name}.margin.covered", [inside, self._ints(*shape)]))
        is_photo = self._node("And", "is_photo", covered)  # (H, W)
        colour = np.array(self._preprocessing.mean_colour, np.uint8).reshape(3, 1, 1)
        return self._node("Where", "on_mean_colour", [is_photo, levels, self._constant("mean_colour", colour)])

    def _normalise(self, levels: str) -> None:
        """`Preprocessing.normalise`, operation by operation."""
        values = self._node("Cast", "values", [levels], to=_FLOAT)
        values = self._node("Div", "fractions", [values, self._constant("255", np.array(255, np.float32))])
        mean, std = (
            self._constant(name, np.array(triple, np.float32).reshape(3, 1, 1))
            for name, triple in (("mean", self._preprocessing.mean), ("std", self._preprocessing.std))
        )
        centred = self._node("Sub", "centred", [values, mean])
        self._graph.node("Div", IMAGES, [centred, std])  # (B, 3, H, W)

    def _static(self, levels: str) -> str:
        """State the size of the image, which an engine cannot know from the nodes before."""
        return self._node("Reshape", "sized", [levels, self._ints(0, 3, *self._preprocessing.image_size)])

    def _to_ints(self, name: str, value: str) -> str:
        """Return a scalar in float64 as int64 (1,)."""
        return self._node("Reshape", name, [self._node("Cast", f"{name}.int", [value], to=_INT64), self._ints(1)])

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        return self._graph.node(operator, _PREFIX + name, inputs, **attributes)

    def _double(self, number: float) -> str:
        return self._constant(f"double.{float(number)}", np.array(number, np.float64))

    def _int(self, number: int) -> str:
        return self._constant(f"int.{number}", np.array(number, np.int64))

    def _ints(self, *numbers: int) -> str:
        return self._constant(f"ints.{'.'.join(map(str, numbers))}", np.array(numbers, np.int64))

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        if name not in self._constants:
            self._constants[name] = self._graph.constant(f"{_PREFIX}constant.{name}", values)
        return self._constants[name]
