"""`Checkpoint`: weights, and everything that is needed to use them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from allmlp.data import Preprocessing
from allmlp.errors import CheckpointError
from allmlp.model import MixerConfig, MlpMixer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Checkpoint", "check_shapes"]

# The offenders that an error lists of each kind: enough for every weight of H/14, not for a file of a million names.
MAX_LISTED = 400


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained Mixer with its pre-processing and class names.

    Attributes:
        config: the architecture.
        weights: the state of `MlpMixer(config)`, complete, by parameter name; floating-point of any width.
        preprocessing: how a photo becomes the input; its image size is the configuration's.
        class_names: K names in the order of the logits.
        source: where the weights came from, for people: a path, or a sentence.

    Raises:
        CheckpointError: weights, class names or image size that do not fit the configuration.
    """

    config: MixerConfig
    weights: "Mapping[str, Tensor]"
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        shapes = {name: tuple(weight.shape) for name, weight in self.weights.items()}
        check_shapes(self.config, shapes, where=self.source)
        integers = sorted(name for name, weight in self.weights.items() if not weight.is_floating_point())
        if integers:
            raise CheckpointError(f"{self.source}: these weights are not floating-point: {', '.join(integers)}.")
        if len(self.class_names) != self.config.num_classes:
            raise CheckpointError(
                f"{self.source}: {len(self.class_names)} class names for a classifier of {self.config.num_classes} classes."
            )
        if len(set(self.class_names)) != len(self.class_names):
            twice = sorted(name for name, count in Counter(self.class_names).items() if count > 1)
            raise CheckpointError(f"{self.source}: class names that occur more than once: {_listed(twice, ', ')}.")
        if self.preprocessing.image_size != self.config.image_size:
            raise CheckpointError(
                f"{self.source}: the pre-processing makes images of {self.preprocessing.image_size}, "
                f"the Mixer takes {self.config.image_size}."
            )

    def build(self) -> MlpMixer:
        """Return the Mixer in evaluation mode, on the processor, with copies of these weights in float32."""
        import torch

        with torch.device("meta"):
            model = MlpMixer(self.config)
        copies = {
            name: weight.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, weight in self.weights.items()
        }
        model.load_state_dict(copies, assign=True)
        return model.eval()


def check_shapes(config: MixerConfig, found: Mapping[str, tuple[int, ...]], *, where: str) -> None:
    """Compare names and shapes of weights with what `config` needs.

    Raises:
        CheckpointError: every missing, unexpected and misshapen name, with both shapes.
    """
    wanted = _wanted_shapes(config)
    kinds = (
        [f"missing: {name} {wanted[name]}" for name in sorted(set(wanted) - set(found))],
        [f"unexpected: {_printable(name)} {found[name]}" for name in sorted(set(found) - set(wanted))],
        [
            f"shape: {name} is {found[name]}, expected {wanted[name]}"
            for name in sorted(set(wanted) & set(found))
            if wanted[name] != found[name]
        ],
    )
    if any(kinds):
        lines = "\n  ".join(_listed(problems, "\n  ") for problems in kinds if problems)
        raise CheckpointError(f"{where}: the weights do not fit this Mixer:\n  {lines}")


def _wanted_shapes(config: MixerConfig) -> dict[str, tuple[int, ...]]:
    # All blocks are alike, so that one is enough to ask: a hostile configuration may call for thousands.
    import torch

    with torch.device("meta"):
        state = MlpMixer(replace(config, num_blocks=1)).state_dict()
    block, shapes = "blocks.0.", {}
    for name, weight in state.items():
        for index in range(config.num_blocks if name.startswith(block) else 1):
            shapes[name.replace(block, f"blocks.{index}.")] = tuple(weight.shape)
    return shapes


def _printable(name: str) -> str:
    return name if name.isprintable() and len(name) <= 200 else ascii(name[:200])


def _listed(problems: list[str], separator: str) -> str:
    rest = [f"and {len(problems) - MAX_LISTED:,} more"] if len(problems) > MAX_LISTED else []
    return separator.join(problems[:MAX_LISTED] + rest)
