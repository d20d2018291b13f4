"""The ONNX graph of a Mixer, equation 1 as operators, written without torch.

Shapes as in model/mixer.py: B images, S tokens, C channels, K classes. Every layer keeps its name from the checkpoint:
`blocks.3.token_mixing.fc1` is a node, `blocks.3.token_mixing.fc1.weight` its weight.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp import __version__
from allmlp.checkpoints import ArrayCheckpoint
from allmlp.errors import ConfigError
from allmlp.exports.metadata import (
    DIGEST_KEY,
    MODEL_INFO,
    OWN_KEY,
    ExportInfo,
    Pixels,
    QuantisationNote,
    info_text,
    model_info,
    weights_digest,
)
from allmlp.exports.onnx_model.pixels import IMAGES, PHOTOS, add_pixels, check_pixels
from allmlp.exports.onnx_model.quantised import Quantisation, quantise_graph
from allmlp.exports.runtimes import import_onnx
from allmlp.model import LAYER_NORM_EPSILON, MixerConfig, parameter_shapes

__all__ = ["ONES", "OPERATORS", "OPSET", "graph_digest", "onnx_bytes", "stored_shapes"]

OPSET = 20  # the first with Gelu
_IR_VERSION = 9  # of onnx 1.15, the first with this opset
_MAX_BYTES = (1 << 31) - 1  # protobuf's limit for one message

OPERATORS = frozenset(
    {"Add", "Concat", "Gather", "Gelu", "Gemm", "LayerNormalization", "MatMul", "Mul", "Reshape", "Transpose"}
)
"""All operators that a graph written here may have."""

ONES = "features.ones"
"""The constant (1, S) whose product with the tokens is their sum."""


def onnx_bytes(
    model: ArrayCheckpoint,
    quantisation: Quantisation | None = None,
    note: QuantisationNote | None = None,
    *,
    pixels: Pixels = "out",
) -> bytes:
    """Return an ONNX model with its description inside; the same checkpoint gives the same bytes.

    Input: `images`, float32 (B, 3, H, W), pre-processed; with `pixels` "in" or "exact" it is `photos`, uint8 (B, h, w, 3), of
    any size, the same within a batch. Outputs: `logits` (B, K), `features` (B, C), and `contributions`
    (B, S, K) of each patch, whose sum over the patches plus the bias of the classifier are the logits. A Mixer without a
    classifier has only `features`. With a quantisation and the note on it, the model has int8 inside, and float32 outside.

    Raises:
        MissingExtraError: onnx is not installed.
        ConfigError: the model is larger than the 2 GiB of an ONNX file, or an unknown word for `pixels`.
    """
    check_pixels(pixels)
    onnx = import_onnx()
    if sum(weight.nbytes for weight in model.weights.values()) > _MAX_BYTES - (16 << 20):
        raise ConfigError("An ONNX file is at most 2 GiB, and the weights of this Mixer take more.")
    info = ExportInfo(
        description=model.description,
        precision="float32" if quantisation is None else "int8",
        weights_sha256=weights_digest(model.weights),
        quantisation=note,
        pixels=pixels,
    )
    trained = {} if quantisation is None else quantisation.floats
    builder = _Graph(onnx, model.description.config, {**model.weights, **trained})
    if pixels != "out":
        add_pixels(builder, model.description.preprocessing, pixels)
    graph = builder.build(has_pixels=pixels != "out")
    if quantisation is not None:
        quantise_graph(onnx, graph, quantisation)
    proto = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="allmlp",
        producer_version=__version__,
    )
    text = info_text(info)
    entries = {OWN_KEY: text, DIGEST_KEY: graph_digest(graph.SerializeToString(deterministic=True), text)}
    entries |= {f"{MODEL_INFO} {name}": value for name, value in model_info(model.description, pixels).items()}
    for name, value in entries.items():
        proto.metadata_props.add(key=name, value=value)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def graph_digest(graph: bytes | memoryview, text: str) -> str:
    """Return the digest of a serialised graph and of the JSON object next to it."""
    hashed = hashlib.sha256(graph)
    hashed.update(text.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def stored_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of weights as they are stored in a graph, from those of `parameter_shapes`."""
    flat = {name: (shape[0], math.prod(shape[1:])) if len(shape) == 4 else shape for name, shape in shapes.items()}
    return {name: shape[::-1] if _is_transposed(name, shape) else shape for name, shape in flat.items()}


def _is_transposed(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a matrix stands on the right of its product. Gemm transposes that of the classifier itself."""
    return len(shape) == 2 and not name.startswith("head.")


class _Graph:
    """The nodes and weights of a graph, collected in the order of computation. Methods return the name of their output."""

    def __init__(self, onnx: Any, config: MixerConfig, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._onnx = onnx
        self._config = config
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        for name in parameter_shapes(config):  # in this order, whatever that of the weights
            weight = weights[name]
            array = weight.reshape(len(weight), -1) if weight.ndim == 4 else weight  # (C, 3 P P)
            self.constant(name, array.T if _is_transposed(name, array.shape) else array)

    def build(self, *, has_pixels: bool) -> Any:
        S, C, K = self._config.num_tokens, self._config.hidden_dim, self._config.num_classes
        x = self._patches()  # (B, S, 3 P P)
        x = self._linear("patch_projection", x)  # (B, S, C)
        for index in range(self._config.num_blocks):
            x = self._block(f"blocks.{index}", x)
        tokens = self._norm("pre_head_norm", x)  # (B, S, C)
        self._mean(tokens)
        outputs: dict[str, tuple[int, ...]] = {"features": (C,)}
        if K:
            self._classify()
            # The mean over tokens and the classifier are linear, so that every patch has its share of each logit.
            columns = self.node("Transpose", "head.weight.transposed", ["head.weight"], perm=[1, 0])  # (C, K)
            shares = self.node("MatMul", "contributions.sum", [tokens, columns])  # (B, S, K)
            scale = self.constant("contributions.scale", np.float32(1 / S))
            self.node("Mul", "contributions", [shares, scale])
            outputs = {"logits": (K,), "features": (C,), "contributions": (S, K)}
        values = [self._value(name, shape) for name, shape in outputs.items()]
        images = self._value(IMAGES, (3, *self._config.image_size))
        if not has_pixels:
            return self._onnx.helper.make_graph(self._nodes, "mixer", [images], values, self._constants)
        photos = self._onnx.helper.make_tensor_value_info(
            PHOTOS, self._onnx.TensorProto.UINT8, ["batch", "height", "width", 3]
        )
        return self._onnx.helper.make_graph(
            self._nodes, "mixer", [photos], values, self._constants, value_info=[images]
        )

    def _mean(self, tokens: str) -> None:
        """Add the mean over tokens as a product with ones: ONNX Runtime's ReduceMean rounds otherwise for a single image."""
        S, C = self._config.num_tokens, self._config.hidden_dim
        ones = self.constant(ONES, np.ones((1, S), np.float32))
        total = self.node("MatMul", "features.sum", [ones, tokens])  # (B, 1, C)
        rows = self.node("Reshape", "features.rows", [total, self.constant("features.shape", np.array([-1, C]))])
        self.node("Mul", "features", [rows, self.constant("features.scale", np.float32(1 / S))])

    def _classify(self) -> None:
        """Add the classifier. Every row is computed twice: for a single row, engines have a kernel that rounds otherwise."""
        rows = self.node("Concat", "head.rows", ["features", "features"], axis=0)  # (2 B, C)
        both = self.node("Gemm", "head", [rows, "head.weight", "head.bias"], transB=1)
        shape = self.constant("head.halves_shape", np.array([2, -1, self._config.num_classes]))
        halves = self.node("Reshape", "head.halves", [both, shape])  # (2, B, K)
        self.node("Gather", "logits", [halves, self.constant("head.first", np.array(0))], axis=0)

    def _patches(self) -> str:
        (rows, columns), P = self._config.grid, self._config.patch_size
        shape = self.constant("patches.split_shape", np.array([0, 3, rows, P, columns, P]))  # 0: B, as it comes
        x = self.node("Reshape", "patches.split", [IMAGES, shape])
        x = self.node("Transpose", "patches.order", [x], perm=[0, 2, 4, 1, 3, 5])  # (B, H/P, W/P, 3, P, P)
        flat = self.constant("patches.shape", np.array([0, rows * columns, 3 * P * P]))
        return self.node("Reshape", "patches", [x, flat])

    def _block(self, name: str, x: str) -> str:
        y = self._norm(f"{name}.token_norm", x)
        y = self.node("Transpose", f"{name}.token_mixing.transpose", [y], perm=[0, 2, 1])  # (B, C, S)
        y = self._mlp(f"{name}.token_mixing", y)
        y = self.node("Transpose", f"{name}.token_mixing.transpose_back", [y], perm=[0, 2, 1])  # (B, S, C)
        x = self.node("Add", f"{name}.token_mixing.residual", [x, y])
        y = self._mlp(f"{name}.channel_mixing", self._norm(f"{name}.channel_norm", x))
        return self.node("Add", f"{name}.channel_mixing.residual", [x, y])

    def _mlp(self, name: str, x: str) -> str:
        x = self._linear(f"{name}.fc1", x)
        approximate = "tanh" if self._config.gelu == "tanh" else "none"
        x = self.node("Gelu", f"{name}.gelu", [x], approximate=approximate)
        return self._linear(f"{name}.fc2", x)

    def _linear(self, name: str, x: str) -> str:
        product = self.node("MatMul", name, [x, f"{name}.weight"])
        return self.node("Add", f"{name}.add_bias", [product, f"{name}.bias"])

    def _norm(self, name: str, x: str) -> str:
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        return self.node("LayerNormalization", name, inputs, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def node(self, operator: str, name: str, inputs: list[str], *, output: str | None = None, **attributes: Any) -> str:
        """Add a node, whose output has its name unless another is given."""
        output = name if output is None else output
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def constant(self, name: str, values: "NDArray[Any] | np.float32") -> str:
        """Add a weight or another constant: int64, float64 and uint8 as they are, and any other type as float32."""
        kinds = self._onnx.TensorProto
        kind, dtype = {
            "int64": (kinds.INT64, "<i8"),
            "float64": (kinds.DOUBLE, "<f8"),
            "uint8": (kinds.UINT8, "u1"),
        }.get(values.dtype.name, (kinds.FLOAT, "<f4"))
        array = np.asarray(values, dtype=dtype)
        self._constants.append(self._onnx.helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True))
        return name

    def _value(self, name: str, shape: tuple[int, ...]) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, ["batch", *shape])
