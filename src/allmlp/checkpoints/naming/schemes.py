"""Naming schemes of a Mixer's weights: the authors' two, timm's and ours, one entry of NAMING_SCHEMES each.

A naming scheme is a bijection of names, and for flax also a permutation of axes: kernels are HWIO and (in, out) in flax,
OIHW and (out, in) in torch. Names and shapes are enough to recognise a scheme, so nothing is read from a file that is not a
Mixer.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allmlp.model import PARAMETERS, Axis, Gelu

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NAMING_SCHEMES", "NamingScheme"]

# For arrays of 1, 2 and 4 axes: the index in our axes of each flax axis.
_FLAX_AXES: Mapping[int, tuple[int, ...]] = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}


@dataclass(frozen=True)
class NamingScheme:
    """The names of a Mixer's weights and the order of their axes in one code base.

    Attributes:
        name: the code base, in words.
        gelu: the GELU that it computes.
        modules: their name for each of our modules; "{i}" is the index of the block, "{}" the name from `leaves`.
        leaves: their names for (a matrix, the scale of a norm, a bias).
        is_flax: kernels are HWIO and (in, out), and a file may add axes of length 1.
    """

    name: str
    gelu: Gelu
    modules: Mapping[str, str]
    leaves: tuple[str, str, str]
    is_flax: bool

    def theirs(self, name: str) -> str:
        """Return their name for one of our parameters."""
        index = re.search(r"\.(\d+)\.", name)
        return self._names[_template(name)].replace("{i}", index[1] if index else "")

    def ours(self, name: str) -> str | None:
        """Return our name for one of their parameters; None if it is not a parameter of a Mixer."""
        number = re.search(r"(?<![0-9])(0|[1-9][0-9]{0,5})(?=[./])", name)
        if number and (template := self._templates.get(name[: number.start()] + "{i}" + name[number.end() :])):
            return template.replace("{i}", number[0])
        return self._templates.get(name) if "{i}" not in name else None

    def split(self, name: str) -> tuple[str, str] | None:
        """Return what precedes one of their parameters at the end of `name`, and our name for it; None if none is there."""
        match = self._pattern.search(name)
        ours = self.ours(match[1]) if match else None
        return None if match is None or ours is None else (name[: match.start(1)], ours)

    def axes(self, name: str) -> tuple[Axis, ...]:
        """Return the paper's letters for the axes of our parameter `name`, in their order."""
        ours = PARAMETERS[_template(name)]
        return tuple(ours[axis] for axis in _FLAX_AXES[len(ours)]) if self.is_flax else ours

    def from_our_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return one of our shapes in the order of their axes."""
        return tuple(shape[axis] for axis in _FLAX_AXES[len(shape)]) if self.is_flax else shape

    def squeezed(self, name: str, shape: tuple[int, ...], wanted: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Return the shape of our parameter `name`, as found in their file, without extra singleton axes.

        If given, `wanted` decides which axes those are: the shape, in their order, that follows from the other weights.
        """
        if (
            wanted is not None
            and self.is_flax
            and len(shape) > len(wanted)
            and _without_ones(shape) == _without_ones(wanted)
        ):
            return wanted
        num_axes = len(PARAMETERS[_template(name)])
        kept = list(shape)
        while self.is_flax and len(kept) > num_axes and 1 in kept:
            kept.remove(1)
        return tuple(kept)

    def to_ours(self, tensor: "Tensor", squeezed: tuple[int, ...]) -> "Tensor":
        """Return a view of their tensor with our axes; `squeezed` is its shape without superfluous axes."""
        tensor = tensor.reshape(squeezed)
        if not self.is_flax:
            return tensor
        our_axes = _FLAX_AXES[tensor.ndim]
        return tensor.permute(tuple(our_axes.index(axis) for axis in range(tensor.ndim)))

    def from_ours(self, tensor: "Tensor") -> "Tensor":
        """Return one of our tensors with their axes, contiguous."""
        return tensor.permute(_FLAX_AXES[tensor.ndim]).contiguous() if self.is_flax else tensor.contiguous()

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        names = {}
        for template in PARAMETERS:
            module, _, leaf = template.rpartition(".")
            kind = 2 if leaf == "bias" else 1 if module.endswith("norm") else 0
            names[template] = self.modules[module].replace("{}", self.leaves[kind])
        return names

    @functools.cached_property
    def _templates(self) -> dict[str, str]:
        return {theirs: ours for ours, theirs in self._names.items()}

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        names = "|".join(re.escape(name).replace(re.escape("{i}"), "[0-9]{1,6}") for name in self._templates)
        return re.compile(rf"(?:^|[./])({names})\Z")


def _scheme(
    name: str,
    gelu: Gelu,
    modules: tuple[str, ...],
    leaves: tuple[str, str, str],
    *,
    is_flax: bool = False,
) -> NamingScheme:
    ours = dict.fromkeys(template.rpartition(".")[0] for template in PARAMETERS)
    return NamingScheme(name, gelu, dict(zip(ours, modules, strict=True)), leaves, is_flax)


# Modules in the order of PARAMETERS: patch projection; per block, token norm and the two layers of token mixing, channel
# norm and the two layers of channel mixing; pre-head norm; head.
# Sources: google-research/vision_transformer, vit_jax/models_mixer.py, for the released .npz files with linen's names and
# with those of the older flax API; timm, timm/models/mlp_mixer.py.
NAMING_SCHEMES: tuple[NamingScheme, ...] = (
    _scheme(
        "allmlp",
        "tanh",
        tuple(dict.fromkeys(template.rpartition(".")[0] + ".{}" for template in PARAMETERS)),
        ("weight", "weight", "bias"),
    ),
    _scheme(
        "timm",
        "erf",
        (
            "stem.proj.{}",
            "blocks.{i}.norm1.{}",
            "blocks.{i}.mlp_tokens.fc1.{}",
            "blocks.{i}.mlp_tokens.fc2.{}",
            "blocks.{i}.norm2.{}",
            "blocks.{i}.mlp_channels.fc1.{}",
            "blocks.{i}.mlp_channels.fc2.{}",
            "norm.{}",
            "head.{}",
        ),
        ("weight", "weight", "bias"),
    ),
    _scheme(
        "google linen",
        "tanh",
        (
            "stem/{}",
            "MixerBlock_{i}/LayerNorm_0/{}",
            "MixerBlock_{i}/token_mixing/Dense_0/{}",
            "MixerBlock_{i}/token_mixing/Dense_1/{}",
            "MixerBlock_{i}/LayerNorm_1/{}",
            "MixerBlock_{i}/channel_mixing/Dense_0/{}",
            "MixerBlock_{i}/channel_mixing/Dense_1/{}",
            "pre_head_layer_norm/{}",
            "head/{}",
        ),
        ("kernel", "scale", "bias"),
        is_flax=True,
    ),
    _scheme(
        "google pre-linen",
        "tanh",
        (
            "embedding/{}",
            "Mixer/encoderblock_{i}/LayerNorm_0/{}",
            "Mixer/encoderblock_{i}/token_mixing_phase_0/{}1",
            "Mixer/encoderblock_{i}/token_mixing_phase_0/{}2",
            "Mixer/encoderblock_{i}/LayerNorm_1/{}",
            "Mixer/encoderblock_{i}/channel_mixing_phase_0/{}1",
            "Mixer/encoderblock_{i}/channel_mixing_phase_0/{}2",
            "Mixer/encoder_norm/{}",
            "head/{}",
        ),
        ("kernel", "scale", "bias"),
        is_flax=True,
    ),
)


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def _template(name: str) -> str:
    return re.sub(r"\.\d+\.", ".{i}.", name, count=1)
