"""Where each code keeps the weights of a Mixer: the authors' two layouts, timm's, and ours. One entry in LAYOUTS a code.

A layout is a bijection of names, and for flax a permutation of axes: kernels are HWIO and (in, out) there, OIHW and
(out, in) in torch. Names and shapes are enough to recognise one, so that nothing is read from a file that is not a Mixer.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allmlp.checkpoints.naming.other_models import describe_unknown_weights
from allmlp.errors import CheckpointError
from allmlp.model import PARAMETERS, Axis, Gelu

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LAYOUTS", "Layout", "recognise", "without_prefixes"]

# What wraps a model's names: DistributedDataParallel, torch.compile, transformers' TimmWrapper, Lightning.
_PREFIXES = re.compile(r"(?:module\.|_orig_mod\.|timm_model\.|model\.)*")

_MAX_PREFIX = 40  # of those that an error explains

_FLAX_AXES: Mapping[int, tuple[int, ...]] = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}  # theirs, as places among ours


@dataclass(frozen=True)
class Layout:
    """How one code names the weights of a Mixer and orders their axes.

    Attributes:
        name: of the code, for people.
        gelu: what that code computes.
        modules: their name of each module of ours; "{i}" counts blocks, "{}" stands for what `leaves` says.
        leaves: their word for (a matrix, a norm's scale, a bias).
        is_flax: kernels are HWIO and (in, out), and a file may add axes of length 1.
    """

    name: str
    gelu: Gelu
    modules: Mapping[str, str]
    leaves: tuple[str, str, str]
    is_flax: bool

    def theirs(self, name: str) -> str:
        """Return their name of a parameter of ours."""
        index = re.search(r"\.(\d+)\.", name)
        return self._names[_template(name)].replace("{i}", index[1] if index else "")

    def ours(self, name: str) -> str | None:
        """Return our name of a parameter of theirs; None when this is no name of a Mixer."""
        number = re.search(r"(?<![0-9])(0|[1-9][0-9]{0,5})(?=[./])", name)
        if number and (template := self._templates.get(name[: number.start()] + "{i}" + name[number.end() :])):
            return template.replace("{i}", number[0])
        return self._templates.get(name) if "{i}" not in name else None

    def axes(self, name: str) -> tuple[Axis, ...]:
        """Return the paper's letters for their axes of our parameter `name`."""
        ours = PARAMETERS[_template(name)]
        return tuple(ours[place] for place in _FLAX_AXES[len(ours)]) if self.is_flax else ours

    def from_our_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape of ours in the order of their axes."""
        return tuple(shape[place] for place in _FLAX_AXES[len(shape)]) if self.is_flax else shape

    def squeezed(self, name: str, shape: tuple[int, ...], wanted: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Return the shape of our parameter `name` as found in their file, less the axes of length 1 that are too many.

        Which of several they are is seen from `wanted`, the shape in their axes that the other weights ask for.
        """
        if wanted is not None and self.is_flax and len(shape) > len(wanted) and _long(shape) == _long(wanted):
            return wanted
        num_axes = len(PARAMETERS[_template(name)])
        kept = list(shape)
        while self.is_flax and len(kept) > num_axes and 1 in kept:
            kept.remove(1)
        return tuple(kept)

    def to_ours(self, tensor: "Tensor", squeezed: tuple[int, ...]) -> "Tensor":
        """Return their tensor, whose shape is `squeezed` without needless axes, with our axes: a view."""
        tensor = tensor.reshape(squeezed)
        if not self.is_flax:
            return tensor
        places = _FLAX_AXES[tensor.ndim]
        return tensor.permute(tuple(places.index(axis) for axis in range(tensor.ndim)))

    def from_ours(self, tensor: "Tensor") -> "Tensor":
        """Return a tensor of ours with their axes, contiguous."""
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


def _layout(
    name: str,
    gelu: Gelu,
    modules: tuple[str, ...],
    leaves: tuple[str, str, str],
    *,
    is_flax: bool = False,
) -> Layout:
    ours = dict.fromkeys(template.rpartition(".")[0] for template in PARAMETERS)
    return Layout(name, gelu, dict(zip(ours, modules, strict=True)), leaves, is_flax)


# Modules in the order of PARAMETERS: patch projection; token norm, its two layers; channel norm, its two layers; norm; head.
# Sources: google-research/vision_transformer, vit_jax/models_mixer.py, for the released .npz files in linen's names and
# in those of the older flax API; timm, timm/models/mlp_mixer.py.
LAYOUTS: tuple[Layout, ...] = (
    _layout(
        "allmlp",
        "tanh",
        tuple(dict.fromkeys(template.rpartition(".")[0] + ".{}" for template in PARAMETERS)),
        ("weight", "weight", "bias"),
    ),
    _layout(
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
    _layout(
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
    _layout(
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


def recognise(names: Iterable[str], *, where: str) -> Layout:
    """Return the layout that knows most of `names`.

    Raises:
        CheckpointError: no layout does, or there is no token mixing among them; says what the file looks like.
    """
    names = list(names)

    def known(layout: Layout) -> list[str]:
        return [ours for name in names if (ours := layout.ours(name))]

    best = max(LAYOUTS, key=lambda layout: len(known(layout)))
    if not any(".token_mixing." in name for name in known(best)):
        if prefix := _common_prefix(names):
            raise CheckpointError(
                f"{where}: all of its names start with {prefix!r}; without it they are a Mixer's. Save the weights so: "
                f"{{name.removeprefix({prefix!r}): weight for name, weight in state.items()}}."
            )
        raise CheckpointError(f"{where}: this is not an MLP-Mixer. {describe_unknown_weights(names)}")
    return best


def _common_prefix(names: list[str]) -> str:
    """Return what stands before the names of a Mixer's token mixing in all of `names`, or ""."""
    start = names[0][:_MAX_PREFIX] if names else ""
    for prefix in (start[: place.end()] for place in re.finditer(r"[./]", start)):
        if not all(name.startswith(prefix) for name in names):
            return ""
        ours = (layout.ours(name.removeprefix(prefix)) for layout in LAYOUTS for name in names)
        if any(name is not None and ".token_mixing." in name for name in ours):
            return prefix
    return ""


def without_prefixes(names: Iterable[str], *, where: str) -> dict[str, str]:
    """Return the names as they stand in the file, by the same name without what wrappers put in front.

    Raises:
        CheckpointError: a weight stands there with and without a prefix.
    """
    stripped: dict[str, str] = {}
    for name in names:
        prefixes = _PREFIXES.match(name)
        bare = name[prefixes.end() :] if prefixes else name
        if bare in stripped:
            raise CheckpointError(
                f"{where}: {bare[:200]!r} stands in it twice, as {stripped[bare][:200]!r} and as {name[:200]!r}. "
                "Keep one of the two models in the file."
            )
        stripped[bare] = name
    return stripped


def _long(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def _template(name: str) -> str:
    return re.sub(r"\.\d+\.", ".{i}.", name, count=1)
