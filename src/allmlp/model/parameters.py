"""Names and shapes of all parameters of a Mixer, computed without building it, and the constant of its norms."""

from collections.abc import Mapping

from allmlp.model.variants import MixerConfig

__all__ = ["LAYER_NORM_EPSILON", "PARAMETERS", "Axis", "parameter_shapes"]

LAYER_NORM_EPSILON = 1e-6
"""As in flax's LayerNorm, with which the released weights were trained; torch's default is 1e-5."""

Axis = str | int
"""One of the paper's letters P, S, C, D_S, D_C and K, or a length that is the same in every Mixer."""

# The parameters of `MlpMixer`. "{i}" is the index of the block, from 0.
PARAMETERS: Mapping[str, tuple[Axis, ...]] = {
    "patch_projection.weight": ("C", 3, "P", "P"),
    "patch_projection.bias": ("C",),
    "blocks.{i}.token_norm.weight": ("C",),
    "blocks.{i}.token_norm.bias": ("C",),
    "blocks.{i}.token_mixing.fc1.weight": ("D_S", "S"),
    "blocks.{i}.token_mixing.fc1.bias": ("D_S",),
    "blocks.{i}.token_mixing.fc2.weight": ("S", "D_S"),
    "blocks.{i}.token_mixing.fc2.bias": ("S",),
    "blocks.{i}.channel_norm.weight": ("C",),
    "blocks.{i}.channel_norm.bias": ("C",),
    "blocks.{i}.channel_mixing.fc1.weight": ("D_C", "C"),
    "blocks.{i}.channel_mixing.fc1.bias": ("D_C",),
    "blocks.{i}.channel_mixing.fc2.weight": ("C", "D_C"),
    "blocks.{i}.channel_mixing.fc2.bias": ("C",),
    "pre_head_norm.weight": ("C",),
    "pre_head_norm.bias": ("C",),
    "head.weight": ("K", "C"),
    "head.bias": ("K",),
}


def parameter_shapes(config: MixerConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter of `MlpMixer(config)` by name."""
    lengths: dict[Axis, int] = {
        "P": config.patch_size,
        "S": config.num_tokens,
        "C": config.hidden_dim,
        "D_S": config.tokens_mlp_dim,
        "D_C": config.channels_mlp_dim,
        "K": config.num_classes,
    }
    shapes = {}
    for template, axes in PARAMETERS.items():
        if template.startswith("head.") and config.num_classes == 0:
            continue
        shape = tuple(axis if isinstance(axis, int) else lengths[axis] for axis in axes)
        for index in range(config.num_blocks if "{i}" in template else 1):
            shapes[template.replace("{i}", str(index))] = shape
    return shapes
