"""The part of an ONNX graph that turns photos of any size into the images of a Mixer, as `Preprocessing` does.

Letters: B photos of h × w pixels; the image has H × W pixels, cut out of a scaled photo. Sizes are computed in the graph, in
float64 as in Python, so that they are those of `data.laws.scaled_size`. All names start with "pixels.".
"""

import numpy as np

from allmlp.data import Preprocessing, scaled_size
from allmlp.errors import ConfigError, did_you_mean
from allmlp.exports.metadata import PIXELS, Pixels
from allmlp.exports.onnx_model.pillow import DOUBLE, FLOAT, INT64, PREFIX, Axis, Graph, PixelNodes, exact_levels
from allmlp.exports.onnx_model.tensorflow import authors_levels
from allmlp.io.display import quote

__all__ = ["IMAGES", "PHOTOS", "PIXEL_OPERATORS", "add_pixels", "check_pixels", "is_pixel_name"]

PHOTOS = "photos"
"""The input of a graph with the pixels inside, uint8 (B, h, w, 3)."""

IMAGES = "images"
"""The input of a Mixer, float32 (B, 3, H, W): that of the graph, or the last value of its pixel part."""

PIXEL_OPERATORS = frozenset(
    {
        *("Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "CumSum", "Div", "Equal", "Floor", "Gather"),
        *("Less", "MatMul", "Max", "Min", "Mul", "Pad", "Range", "Reshape", "Resize", "Round", "Shape", "Sign"),
        *("Slice", "Sub", "Transpose", "Where"),
    }
)
"""All operators that the pixel part of a graph may have."""


def check_pixels(pixels: object) -> Pixels:
    """Return where photos become images. Raises ConfigError for an unknown word."""
    if not isinstance(pixels, str) or pixels not in PIXELS:
        hint = did_you_mean(pixels, PIXELS) if isinstance(pixels, str) else ""
        raise ConfigError(f"pixels is {quote(pixels)}; expected one of {', '.join(PIXELS)}.{hint}")
    return pixels


def is_pixel_name(name: str) -> bool:
    """Return whether a node or a constant belongs to the pixel part."""
    return name.startswith(PREFIX) or name == IMAGES


def add_pixels(graph: Graph, preprocessing: Preprocessing, pixels: Pixels) -> None:
    """Add the nodes between `PHOTOS`, uint8 (B, h, w, 3), and `IMAGES`, float32 (B, 3, H, W).

    "in" resizes with the engine's `Resize`, the nearest to Pillow that ONNX has; "exact" with Pillow's coefficients in float64.
    Levels are rounded after each of the two passes, the width first. The authors' laws, which do not antialias, need no
    coefficients of Pillow: with them, both words mean the same exact nodes.
    """
    _PixelGraph(graph, preprocessing).build(pixels)


class _PixelGraph:
    """The nodes of the pixel part. Methods return the name of their value."""

    def __init__(self, graph: Graph, preprocessing: Preprocessing) -> None:
        self._graph = graph
        self._nodes = PixelNodes(graph)
        self._preprocessing = preprocessing

    def build(self, pixels: Pixels) -> None:
        planes = self._nodes.node("Transpose", "planes", [PHOTOS], perm=[0, 3, 1, 2])  # (B, 3, h, w)
        height, width = self._axes()
        if not self._preprocessing.is_antialiased:
            levels = authors_levels(self._nodes, self._preprocessing, planes, height, width)
        elif pixels == "exact":
            levels = exact_levels(self._nodes, self._preprocessing, planes, height, width)
        else:
            levels = self._resized(planes, height, width)
        if self._preprocessing.fit == "pad":
            levels = self._on_mean_colour(levels, height, width)
        self._normalise(levels)  # (B, 3, H, W)

    def _axes(self) -> tuple[Axis, Axis]:
        """Return the axes of the height and of the width."""
        shape = self._nodes.node("Shape", "shape", [PHOTOS])
        lengths = []
        for number, name in enumerate(("height", "width"), start=1):
            side = self._nodes.node("Gather", f"{name}.int", [shape, self._nodes.integer(number)], axis=0)
            lengths.append(self._nodes.node("Cast", name, [side], to=DOUBLE))
        scaled = self._scaled(*lengths)
        axes = []
        for name, length, side, out in zip(
            ("height", "width"), lengths, scaled, self._preprocessing.image_size, strict=True
        ):
            axes.append(Axis(name, length, side, self._start(name, side, out), out))
        return axes[0], axes[1]

    def _scaled(self, height: str, width: str) -> tuple[str, str]:
        """Return the size to which a photo is scaled: `data.laws.scaled_size`, operation by operation."""
        p = self._preprocessing
        target = scaled_size(p.law, "squash", p.image_size, p.crop_fraction, (1, 1))
        if p.fit == "squash":
            return self._nodes.double(target[0]), self._nodes.double(target[1])
        sides = tuple(zip(("height", "width"), (height, width), target, strict=True))
        if p.law == "timm" and p.fit == "crop" and target[0] == target[1]:
            longest, shortest = (
                self._nodes.node(operator, f"{operator.lower()}_side", [height, width]) for operator in ("Max", "Min")
            )
            product = self._nodes.node("Mul", "longer.product", [longest, self._nodes.double(target[0])])
            longer = self._nodes.node("Floor", "longer", [self._nodes.node("Div", "longer.ratio", [product, shortest])])
            is_wide = self._nodes.node("Equal", "is_wide", [height, shortest])
            other = self._nodes.double(target[0])
            return (
                self._nodes.node("Where", "height.scaled", [is_wide, other, longer]),
                self._nodes.node("Where", "width.scaled", [is_wide, longer, other]),
            )
        is_timm = p.law == "timm"  # which divides by photo / target
        if p.law == "big_vision":
            return self._scaled_as_big_vision(sides)
        ratios = []
        for name, length, side in sides:
            terms = [length, self._nodes.double(side)] if is_timm else [self._nodes.double(side), length]
            ratios.append(self._nodes.node("Div", f"{name}.ratio", terms))
        ratio = self._nodes.node("Max" if (p.fit == "pad") == is_timm else "Min", "ratio", ratios)
        scaled = []
        for name, length, side in sides:
            product = self._nodes.node("Div" if is_timm else "Mul", f"{name}.product", [length, ratio])
            least = side if p.fit == "crop" and not is_timm else 1
            rounded = self._nodes.node("Round", f"{name}.rounded", [product])
            scaled.append(self._nodes.node("Max", f"{name}.scaled", [rounded, self._nodes.double(least)]))
        return scaled[0], scaled[1]

    def _scaled_as_big_vision(self, sides: "tuple[tuple[str, str, int], ...]") -> tuple[str, str]:
        """Return the size in float32, half to even, and at least the target."""
        singles = [self._nodes.node("Cast", f"{name}.single", [length], to=FLOAT) for name, length, _ in sides]
        ratios = [
            self._nodes.node("Div", f"{name}.ratio", [self._nodes.single(side), single])
            for (name, _, side), single in zip(sides, singles, strict=True)
        ]
        factor = self._nodes.node("Max", "ratio", ratios)
        scaled = []
        for (name, _, side), single in zip(sides, singles, strict=True):
            product = self._nodes.node("Mul", f"{name}.product", [single, factor])
            rounded = self._nodes.node("Round", f"{name}.rounded", [product])
            whole = self._nodes.node("Cast", f"{name}.whole", [rounded], to=DOUBLE)
            scaled.append(self._nodes.node("Max", f"{name}.scaled", [whole, self._nodes.double(side)]))
        return scaled[0], scaled[1]

    def _start(self, name: str, scaled: str, out: int) -> str:
        """Return where the image starts in the scaled photo; negative if the photo is smaller (`crop_offset`, `_pad`)."""
        p = self._preprocessing
        terms = [self._nodes.double(out), scaled] if p.fit == "pad" else [scaled, self._nodes.double(out)]
        spare = self._nodes.node("Sub", f"{name}.spare", terms)
        half = self._nodes.node("Mul", f"{name}.half", [spare, self._nodes.double(0.5)])
        operator = "Round" if p.law == "timm" and p.fit != "pad" else "Floor"
        start = self._nodes.node(operator, f"{name}.offset", [half])
        return self._nodes.node("Mul", f"{name}.start", [start, self._nodes.double(-1.0)]) if p.fit == "pad" else start

    def _resized(self, planes: str, height: Axis, width: Axis) -> str:
        """Resize with ONNX's `Resize` on uint8, which rounds after each pass, then cut or pad: (B, 3, H, W) uint8."""
        sizes = [self._to_ints(f"{axis.name}.size", axis.scaled) for axis in (height, width)]
        # Of all four axes: with the attribute `axes`, ONNX Runtime 1.32 fails when it moves the transposition behind a linear
        # Resize.
        batch = self._nodes.node(
            "Reshape",
            "batch",
            [
                self._nodes.node("Gather", "batch.int", [f"{PREFIX}shape", self._nodes.integer(0)]),
                self._nodes.integers(1),
            ],
        )
        whole = self._nodes.node(
            "Resize",
            "resized",
            [planes, "", "", self._nodes.node("Concat", "size", [batch, self._nodes.integers(3), *sizes], axis=0)],
            mode="cubic" if self._preprocessing.interpolation == "bicubic" else "linear",
            cubic_coeff_a=-0.5,
            antialias=1,
            exclude_outside=1,
            coordinate_transformation_mode="half_pixel",
        )
        starts = [self._to_ints(f"{axis.name}.first", axis.start) for axis in (height, width)]
        if self._preprocessing.fit == "pad":
            return self._padded(whole, starts, height, width)
        lengths = [self._nodes.integers(axis.out) for axis in (height, width)]
        ends = [
            self._nodes.node("Add", f"{axis.name}.end", [start, out])
            for axis, start, out in zip((height, width), starts, lengths, strict=True)
        ]
        first, last = (
            self._nodes.node("Concat", name, values, axis=0) for name, values in (("first", starts), ("end", ends))
        )
        cut = self._nodes.node("Slice", "cut", [whole, first, last, self._nodes.integers(2, 3)])
        return self._static(cut)

    def _padded(self, whole: str, starts: list[str], height: Axis, width: Axis) -> str:
        before, after = [], []
        for axis, start in zip((height, width), starts, strict=True):
            margin = self._nodes.node("Sub", f"{axis.name}.before", [self._nodes.integers(0), start])
            rest = self._nodes.node("Sub", f"{axis.name}.rest", [self._nodes.integers(axis.out), margin])
            size = f"{PREFIX}{axis.name}.size"
            before.append(margin)
            after.append(self._nodes.node("Sub", f"{axis.name}.after", [rest, size]))
        margins = self._nodes.node("Concat", "margins", [*before, *after], axis=0)
        black = self._nodes.constant("black", np.array(0, np.uint8))
        padded = self._nodes.node("Pad", "padded", [whole, margins, black, self._nodes.integers(2, 3)])
        return self._static(padded)

    def _on_mean_colour(self, levels: str, height: Axis, width: Axis) -> str:
        """Replace what is not covered by the scaled photo by the mean colour."""
        covered = []
        for axis, shape in zip((height, width), ((-1, 1), (1, -1)), strict=True):
            outputs = self._nodes.node(
                "Range",
                f"{axis.name}.margin.outputs",
                [self._nodes.double(0), self._nodes.double(axis.out), self._nodes.double(1)],
            )
            indices = self._nodes.node("Add", f"{axis.name}.margin.indices", [outputs, axis.start])
            is_after = self._nodes.node("Less", f"{axis.name}.margin.is_after", [self._nodes.double(-1), indices])
            is_before = self._nodes.node("Less", f"{axis.name}.margin.is_before", [indices, axis.scaled])
            inside = self._nodes.node("And", f"{axis.name}.margin.inside", [is_after, is_before])
            covered.append(
                self._nodes.node("Reshape", f"{axis.name}.margin.covered", [inside, self._nodes.integers(*shape)])
            )
        is_photo = self._nodes.node("And", "is_photo", covered)  # (H, W)
        colour = np.array(self._preprocessing.mean_colour, np.uint8).reshape(3, 1, 1)
        return self._nodes.node(
            "Where", "on_mean_colour", [is_photo, levels, self._nodes.constant("mean_colour", colour)]
        )

    def _normalise(self, levels: str) -> None:
        """`Preprocessing.normalise`, operation by operation."""
        values = self._nodes.node("Cast", "values", [levels], to=FLOAT)
        values = self._nodes.node("Div", "fractions", [values, self._nodes.constant("255", np.array(255, np.float32))])
        mean, std = (
            self._nodes.constant(name, np.array(triple, np.float32).reshape(3, 1, 1))
            for name, triple in (("mean", self._preprocessing.mean), ("std", self._preprocessing.std))
        )
        centred = self._nodes.node("Sub", "centred", [values, mean])
        self._graph.node("Div", IMAGES, [centred, std])  # (B, 3, H, W)

    def _static(self, levels: str) -> str:
        """State the size of the image, which an engine cannot know from the nodes before."""
        return self._nodes.node(
            "Reshape", "sized", [levels, self._nodes.integers(0, 3, *self._preprocessing.image_size)]
        )

    def _to_ints(self, name: str, value: str) -> str:
        """Return a scalar in float64 as int64 (1,)."""
        return self._nodes.node(
            "Reshape", name, [self._nodes.node("Cast", f"{name}.int", [value], to=INT64), self._nodes.integers(1)]
        )
