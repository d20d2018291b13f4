"""Where another code keeps each weight of `MlpMixer`: the authors' two layouts, timm's, and the oracle's."""

import re
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from tests.reference.mixer_numpy import Layer, Norm, Weights
from torch import Tensor

LINEN = {
    r"patch_projection\.weight": "stem/kernel",
    r"patch_projection\.bias": "stem/bias",
    r"blocks\.(\d+)\.token_norm\.(\w+)": r"MixerBlock_\1/LayerNorm_0/\2",
    r"blocks\.(\d+)\.channel_norm\.(\w+)": r"MixerBlock_\1/LayerNorm_1/\2",
    r"blocks\.(\d+)\.(\w+)\.fc1\.(\w+)": r"MixerBlock_\1/\2/Dense_0/\3",
    r"blocks\.(\d+)\.(\w+)\.fc2\.(\w+)": r"MixerBlock_\1/\2/Dense_1/\3",
    r"pre_head_norm\.(\w+)": r"pre_head_layer_norm/\1",
    r"head\.(\w+)": r"head/\1",
}

PRE_LINEN = {
    r"stem/(\w+)": r"embedding/\1",
    r"MixerBlock_(\d+)/(LayerNorm_\d/\w+)": r"Mixer/encoderblock_\1/\2",
    r"MixerBlock_(\d+)/(\w+)/Dense_0/(\w+)": r"Mixer/encoderblock_\1/\2_phase_0/\g<3>1",
    r"MixerBlock_(\d+)/(\w+)/Dense_1/(\w+)": r"Mixer/encoderblock_\1/\2_phase_0/\g<3>2",
    r"pre_head_layer_norm/(\w+)": r"Mixer/encoder_norm/\1",
    r"head/(\w+)": r"head/\1",
}

TIMM = {
    "patch_projection": "stem.proj",
    "token_norm": "norm1",
    "token_mixing": "mlp_tokens",
    "channel_norm": "norm2",
    "channel_mixing": "mlp_channels",
    "pre_head_norm": "norm",
}


def linen_name(name: str) -> str:
    """Return the authors' name of a weight of ours, in the linen layout."""
    renamed = _renamed(name, LINEN)
    return re.sub("/weight$", "/scale" if "norm/" in renamed.lower() or "Norm_" in renamed else "/kernel", renamed)


def pre_linen_name(name: str) -> str:
    """Return the authors' name of a weight of ours, in the older layout."""
    return _renamed(linen_name(name), PRE_LINEN)


def timm_name(name: str) -> str:
    """Return timm's name of a weight of ours."""
    for ours, theirs in TIMM.items():
        name = re.sub(rf"(^|\.){ours}\.", rf"\1{theirs}.", name)
    return name


def load_authors(model: torch.nn.Module, read: Callable[[str, tuple[int, ...]], NDArray[np.float32]]) -> None:
    """Fill `model` in place from read(our name, shape in the linen layout): HWIO and (in, out) kernels."""
    for name, weight in model.state_dict().items():
        axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[weight.ndim]  # from ours to theirs
        array = read(name, tuple(weight.shape[axis] for axis in axes))
        weight.copy_(torch.from_numpy(array).permute(tuple(np.argsort(axes))))


def to_oracle(state: Mapping[str, Tensor]) -> Weights:
    """Return the oracle's weights, float64."""
    arrays = {name: weight.numpy().astype(np.float64) for name, weight in state.items()}

    def norm(name: str) -> Norm:
        return Norm(scale=arrays[f"{name}.weight"], bias=arrays[f"{name}.bias"])

    def layer(block: str) -> Layer:
        linears = ("token_mixing.fc1", "token_mixing.fc2", "channel_mixing.fc1", "channel_mixing.fc2")
        matrices = {f"W{i}": arrays[f"{block}.{linear}.weight"] for i, linear in enumerate(linears, 1)}
        biases = {f"b{i}": arrays[f"{block}.{linear}.bias"] for i, linear in enumerate(linears, 1)}
        return Layer(
            token_norm=norm(f"{block}.token_norm"), channel_norm=norm(f"{block}.channel_norm"), **matrices, **biases
        )

    num_blocks = 1 + max(int(name.split(".")[1]) for name in arrays if name.startswith("blocks."))
    return Weights(
        projection=arrays["patch_projection.weight"],
        projection_bias=arrays["patch_projection.bias"],
        layers=tuple(layer(f"blocks.{index}") for index in range(num_blocks)),
        pre_head_norm=norm("pre_head_norm"),
        classifier=arrays["head.weight"],
        classifier_bias=arrays["head.bias"],
    )


def _renamed(name: str, table: Mapping[str, str]) -> str:
    for pattern, replacement in table.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    raise KeyError(name)
