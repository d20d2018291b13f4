"""The LiteRT graph of a Mixer, equation 1 as operators, written without torch and TensorFlow.

Shapes as in model/mixer.py: B images, S tokens, C channels, K classes. Weights keep their names and shapes, but for the patch
projection, which is a matrix.
"""

import hashlib
import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ArrayCheckpoint
from allmlp.errors import ConfigError
from allmlp.exports.litert_model.builder import Builder, Finished
from allmlp.exports.metadata import DIGEST_KEY, OWN_KEY, ExportInfo, info_text, weights_digest
from allmlp.exports.runtimes import import_litert_schema
from allmlp.model import LAYER_NORM_EPSILON, MixerConfig, parameter_shapes

__all__ = ["DESCRIPTION", "file_digest", "litert_bytes", "mixer_graph"]

DESCRIPTION = f"{OWN_KEY}.json"
"""The file with the JSON object, in a zip archive that stands at the end of the file: as in TensorFlow Lite's metadata."""

_IMAGES = "images"
_MAX_BYTES = (1 << 31) - 1  # FlatBuffers' limit


def litert_bytes(model: ArrayCheckpoint) -> bytes:
    """Return a .tflite file with its description inside; the same checkpoint gives the same bytes.

    Input: `images`, float32 (B, 3, H, W), pre-processed; B is 1 until it is resized. Outputs: `logits` (B, K), `features`
    (B, C), and `contributions` (B, S, K) of each patch. A Mixer without a classifier has only `features`.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
        ConfigError: the model is larger than the 2 GiB of such a file.
    """
    if sum(weight.nbytes for weight in model.weights.values()) > _MAX_BYTES - (16 << 20):
        raise ConfigError("A .tflite file is at most 2 GiB, and the weights of this Mixer take more.")
    digest = weights_digest(model.weights)
    info = ExportInfo(description=model.description, precision="float32", weights_sha256=digest)
    text = info_text(info)
    content = mixer_graph(model.description.config, model.weights).content
    buffer = io.BytesIO()
    buffer.write(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, value in {DESCRIPTION: text, DIGEST_KEY: file_digest(memoryview(content), text)}.items():
            archive.writestr(zipfile.ZipInfo(name), value)
    return buffer.getvalue()


def file_digest(graph: memoryview, text: str) -> str:
    """Return the digest of a graph and of the JSON object behind it."""
    hashed = hashlib.sha256(graph)
    hashed.update(text.encode())
    return hashed.hexdigest()


def mixer_graph(config: MixerConfig, weights: Mapping[str, NDArray[np.float32]] | None) -> Finished:
    """Return the graph of a Mixer; without weights they are zero, and all else is the same.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
    """
    return _Mixer(Builder(import_litert_schema()), config, weights).build()


class _Mixer:
    """The operations. Methods return the number of their output."""

    def __init__(
        self, builder: Builder, config: MixerConfig, weights: Mapping[str, NDArray[np.float32]] | None
    ) -> None:
        self._builder, self._config = builder, config
        self._weights: dict[str, int] = {}
        for name, shape in parameter_shapes(config).items():
            flat = (shape[0], math.prod(shape[1:])) if len(shape) == 4 else shape
            values = np.zeros(flat, "<f4") if weights is None else np.asarray(weights[name], "<f4").reshape(flat)
            self._weights[name] = builder.constant(name, values)
        self._last_axis = builder.constant("last_axis", np.array([2], "<i4"))
        self._token_axis = builder.constant("token_axis", np.array([1], "<i4"))
        self._swapped = builder.constant("swapped_axes", np.array([0, 2, 1], "<i4"))
        self._epsilon = builder.constant("epsilon", np.array(LAYER_NORM_EPSILON, "<f4"))

    def build(self) -> Finished:
        (rows, columns), P = self._config.grid, self._config.patch_size
        S, C, K = self._config.num_tokens, self._config.hidden_dim, self._config.num_classes
        images = self._builder.input(_IMAGES, (3, *self._config.image_size))
        x = self._reshape("patches.split", images, (3, rows, P, columns, P))
        order = self._builder.constant("patches.axes", np.array([0, 2, 4, 1, 3, 5], "<i4"))
        x = self._do("TRANSPOSE", "patches.order", x, order, shape=(rows, columns, 3, P, P))
        x = self._reshape("patches", x, (S, 3 * P * P))
        x = self._linear("patch_projection", x)
        for index in range(self._config.num_blocks):
            x = self._block(f"blocks.{index}", x)
        tokens = self._norm("pre_head_norm", x)
        features = self._do("MEAN", "features", tokens, self._token_axis, shape=(C,), options="ReducerOptions")
        outputs = [features]
        if K:
            logits = self._linear("head", features, name="logits")
            # The mean over tokens and the classifier are linear, so that every patch has its share of each logit.
            shares = self._linear("head", tokens, name="contributions.sum", has_bias=False)
            share = self._builder.constant("contributions.scale", np.array(1 / S, "<f4"))
            contributions = self._do("MUL", "contributions", shares, share, shape=(S, K), options="MulOptions")
            outputs = [logits, features, contributions]
        return self._builder.finish([images], outputs, description="MLP-Mixer, written by allmlp")

    def _block(self, name: str, x: int) -> int:
        S, C = self._builder.shape(x)
        y = self._norm(f"{name}.token_norm", x)
        y = self._do("TRANSPOSE", f"{name}.token_mixing.transpose", y, self._swapped, shape=(C, S))
        y = self._mlp(f"{name}.token_mixing", y)
        y = self._do("TRANSPOSE", f"{name}.token_mixing.transpose_back", y, self._swapped, shape=(S, C))
        x = self._do("ADD", f"{name}.token_mixing.residual", x, y, shape=(S, C), options="AddOptions")
        y = self._mlp(f"{name}.channel_mixing", self._norm(f"{name}.channel_norm", x))
        return self._do("ADD", f"{name}.channel_mixing.residual", x, y, shape=(S, C), options="AddOptions")

    def _mlp(self, name: str, x: int) -> int:
        x = self._linear(f"{name}.fc1", x)
        is_tanh = self._config.gelu == "tanh"
        shape = self._builder.shape(x)
        x = self._do("GELU", f"{name}.gelu", x, shape=shape, options="GeluOptions", Approximate=is_tanh)
        return self._linear(f"{name}.fc2", x)

    def _linear(self, layer: str, x: int, *, name: str = "", has_bias: bool = True) -> int:
        weight = self._weights[f"{layer}.weight"]
        inputs = (x, weight, self._weights[f"{layer}.bias"] if has_bias else -1)
        shape = (*self._builder.shape(x)[:-1], self._builder.shape(weight)[0])
        options: dict[str, Any] = {"options": "FullyConnectedOptions", "KeepNumDims": True}
        return self._do("FULLY_CONNECTED", name or layer, *inputs, shape=shape, **options)

    def _norm(self, name: str, x: int) -> int:
        S, C = self._builder.shape(x)

        def do(operator: str, part: str, *inputs: int, width: int = C, **settings: Any) -> int:
            return self._do(operator, f"{name}{part}", *inputs, shape=(S, width), **settings)

        mean: dict[str, Any] = {"width": 1, "options": "ReducerOptions", "KeepDims": True}
        centre = do("MEAN", ".mean", x, self._last_axis, **mean)
        squares = do("SQUARED_DIFFERENCE", ".squares", x, centre, options="SquaredDifferenceOptions")
        variance = do("MEAN", ".variance", squares, self._last_axis, **mean)
        variance = do("ADD", ".plus_epsilon", variance, self._epsilon, width=1, options="AddOptions")
        inverse = do("RSQRT", ".inverse", variance, width=1)
        x = do("SUB", ".centred", x, centre, options="SubOptions")
        x = do("MUL", ".normalised", x, inverse, options="MulOptions")
        x = do("MUL", ".scaled", x, self._weights[f"{name}.weight"], options="MulOptions")
        return do("ADD", "", x, self._weights[f"{name}.bias"], options="AddOptions")

    def _reshape(self, name: str, x: int, shape: tuple[int, ...]) -> int:
        target = self._builder.constant(f"{name}.shape", np.array((-1, *shape), "<i4"))
        return self._do("RESHAPE", name, x, target, shape=shape)

    def _do(
        self, operator: str, name: str, *inputs: int, shape: tuple[int, ...], options: str = "", **settings: Any
    ) -> int:
        return self._builder.operation(operator, name, inputs, shape, options, **settings)
