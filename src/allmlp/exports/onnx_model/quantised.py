"""int8 in an ONNX graph: integers between QuantizeLinear and DequantizeLinear, which engines fuse into integer products.

Weights are symmetric, with a scale for each output of a layer. The inputs of a layer have 8 bits without a sign, one scale and
one zero point. Processors without VNNI add pairs of products in 16 bits, which saturate at 32,767. With weights of 8 bits, a
pair reaches 2 · 255 · 127 = 64,770; with 7 bits, 2 · 255 · 63 = 32,130, so that every processor computes the same sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.model import MixerConfig, parameter_shapes

__all__ = [
    "INT8_OPERATORS",
    "MAX_INPUT",
    "MAX_WEIGHT",
    "Quantisation",
    "QuantisedWeight",
    "input_grid",
    "is_token_mixing",
    "layer_widths",
    "norm_before",
    "quantise_graph",
    "quantised_constants",
]

MAX_WEIGHT: Mapping[int, int] = {7: 63, 8: 127}
"""The largest absolute integer of a weight, by its bits."""

MAX_INPUT = 255
"""The largest integer of an input."""

INT8_OPERATORS = frozenset({"Cast", "QuantizeLinear", "DequantizeLinear"})
"""What an int8 graph has next to the operators of a float32 graph."""

_CLASSIFIER = "head"  # Gemm transposes its weight, (K, C)


class QuantisedWeight(NamedTuple):
    """A matrix (inputs, outputs) as int8, and the scale of each output, float32."""

    integers: NDArray[np.int8]
    scales: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """What becomes integers, by the names of layers, such as "blocks.3.token_mixing.fc1".

    Attributes:
        weights: of the layers whose weights become int8.
        inputs: of those, the layers that multiply in integers, each with the range of its input. The others multiply in
            float32. So does the classifier always: it computes once per photo, and the contributions still sum to the logits.
        divisors: of first layers among these, a positive number for each channel, float32 (C,), by which the norm before the
            layer is divided, so that its channels have similar ranges. In channel mixing the weights were multiplied by them;
            in token mixing the outputs of the layer are.
        floats: by name, weights in float32 that stand in place of the checkpoint's, if the Mixer was trained for int8.
    """

    weights: Mapping[str, QuantisedWeight]
    inputs: Mapping[str, tuple[float, float]]
    divisors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    floats: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def quantise_graph(onnx: Any, graph: Any, plan: Quantisation) -> None:
    """Change a graph of `onnx_bytes` in place: weights of the plan become int8, and the products of its inputs, too."""
    graph_writer = _Writer(onnx, graph, plan)
    for node in list(graph.node):
        graph_writer.add(node)
    del graph.node[:]
    graph.node.extend(graph_writer.nodes)


class _Writer:
    """The nodes of the new graph, collected in the order of computation."""

    def __init__(self, onnx: Any, graph: Any, plan: Quantisation) -> None:
        self.nodes: list[Any] = []
        self._onnx, self._graph, self._plan = onnx, graph, plan
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._layers = {f"{layer}.weight": layer for layer in plan.weights}
        self._restored: set[str] = set()

    def add(self, node: Any) -> None:
        for index, name in enumerate(node.input):
            if name in self._layers:
                node.input[index] = self._restored_weight(name)
        if node.op_type == "MatMul" and node.name in self._plan.inputs:
            node.input[0] = self._quantised_input(node.name, node.input[0])
        self.nodes.append(node)
        if node.op_type == "MatMul" and node.name in self._plan.divisors:
            self._divide(node)

    def _divide(self, node: Any) -> None:
        divisor = self._plan.divisors[node.name]
        norm = norm_before(node.name)
        for name in (f"{norm}.weight", f"{norm}.bias"):
            tensor = self._constants[name]
            tensor.raw_data = (np.frombuffer(tensor.raw_data, "<f4") / divisor).astype("<f4").tobytes()
        if is_token_mixing(node.name):  # (B, C, D_S)
            output, node.output[0] = node.output[0], f"{node.name}.divided"
            scale = self._constant(f"{node.name}.output.scale", divisor[:, None].astype("<f4"))
            name = f"{node.name}.output"
            self.nodes.append(self._onnx.helper.make_node("Mul", [node.output[0], scale], [output], name=name))

    def _restored_weight(self, name: str) -> str:
        """Return the weight in float32.

        If its layer multiplies in float32, as a cast and a product, which engines compute once and for all. DequantizeLinear
        would have ONNX Runtime round the inputs to 8 bits, too, each row by its own range, unless an option forbids it.
        """
        restored = f"{name}.float"
        if name not in self._restored:
            self._restored.add(name)
            layer = self._layers[name]
            integers, scales = self._plan.weights[layer]
            tensor, is_classifier = self._constants[name], layer == _CLASSIFIER
            stored = np.ascontiguousarray(integers.T if is_classifier else integers)
            assert stored.shape == tuple(tensor.dims)
            tensor.data_type, tensor.raw_data = self._onnx.TensorProto.INT8, stored.tobytes()
            if layer in self._plan.inputs:
                scale = self._constant(f"{name}.scale", scales.astype("<f4"))
                zero_point = self._constant(f"{name}.zero_point", np.zeros(len(scales), np.int8))
                self._node("DequantizeLinear", restored, [name, scale, zero_point], axis=1)
            else:
                step = self._constant(f"{name}.step", (scales[:, None] if is_classifier else scales).astype("<f4"))
                self._node("Cast", f"{name}.integers", [name], to=self._onnx.TensorProto.FLOAT)
                self._node("Mul", restored, [f"{name}.integers", step])
        return restored

    def _quantised_input(self, layer: str, value: str) -> str:
        scale, zero_point = input_grid(*self._plan.inputs[layer])
        name = f"{layer}.input"
        pair = [
            self._constant(f"{name}.scale", np.array(scale, "<f4")),
            self._constant(f"{name}.zero_point", np.array(zero_point, np.uint8)),
        ]
        self._node("QuantizeLinear", f"{name}.quantised", [value, *pair])
        self._node("DequantizeLinear", name, [f"{name}.quantised", *pair])
        return name

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> None:
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, [name], name=name, **attributes))

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        kinds = self._onnx.TensorProto
        kind = {"f": kinds.FLOAT, "i": kinds.INT8, "u": kinds.UINT8}[values.dtype.kind]
        tensor = self._onnx.helper.make_tensor(name, kind, values.shape, values.tobytes(), raw=True)
        self._graph.initializer.append(tensor)
        return name


def input_grid(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Return the scale and the zero point of inputs in this range, to which 0 always belongs."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / MAX_INPUT or 1)
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, MAX_INPUT))


def norm_before(layer: str) -> str:
    """Return the norm whose output is the input of a first layer: "blocks.3.token_mixing.fc1" gives "blocks.3.token_norm"."""
    return layer.replace("_mixing.fc1", "_norm")


def is_token_mixing(layer: str) -> bool:
    """Return whether a layer belongs to token mixing."""
    return ".token_mixing." in layer


def layer_widths(config: MixerConfig) -> dict[str, int]:
    """Return the number of outputs of every layer that has a matrix, by name."""
    shapes = parameter_shapes(config)
    return {name.removesuffix(".weight"): shape[0] for name, shape in shapes.items() if len(shape) > 1}


def quantised_constants(config: MixerConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the scales and zero points that an int8 graph may have."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, num_outputs in layer_widths(config).items():
        shapes[f"{layer}.weight.step"] = (num_outputs, 1) if layer == _CLASSIFIER else (num_outputs,)
        for part in ("scale", "zero_point"):
            shapes[f"{layer}.weight.{part}"] = (num_outputs,)
            shapes[f"{layer}.input.{part}"] = ()
        if is_token_mixing(layer):
            shapes[f"{layer}.output.scale"] = (config.hidden_dim, 1)
    return shapes
