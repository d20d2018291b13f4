"""`Checkpoint`: weights, and everything that is needed to use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allmlp.data import Preprocessing
from allmlp.errors import CheckpointError
from allmlp.model import MixerConfig, MlpMixer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Checkpoint", "check_weights"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained Mixer with its pre-processing and class names.

    Attributes:
        config: the architecture.
        weights: the state of `MlpMixer(config)`, complete, by parameter name.
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
        check_weights(self.config, self.weights, where=self.source)
        if len(self.class_names) != self.config.num_classes:
            raise CheckpointError(
                f"{self.source}: {len(self.class_names)} class names for a classifier of {self.config.num_classes} classes."
            )
        if len(set(self.class_names)) != len(self.class_names):
            twice = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
            raise CheckpointError(f"{self.source}: class names that occur more than once: {', '.join(twice)}.")
        if self.preprocessing.image_size != self.config.image_size:
            raise CheckpointError(
                f"{self.source}: the pre-processing makes images of {self.preprocessing.image_size}, "
                f"the Mixer takes {self.config.image_size}."
            )

    def build(self) -> MlpMixer:
        """Return the Mixer with these weights, in evaluation mode, on the processor; the weights are copied."""
        import torch

        with torch.device("meta"):
            model = MlpMixer(self.config)
        model.load_state_dict({name: weight.clone() for name, weight in self.weights.items()}, assign=True)
        return model.eval()


def check_weights(config: MixerConfig, weights: "Mapping[str, Tensor]", *, where: str) -> None:
    """Compare names and shapes with what `config` needs.

    Raises:
        CheckpointError: every missing, unexpected and misshapen name, with both shapes.
    """
    import torch

    with torch.device("meta"):
        wanted = {name: tuple(weight.shape) for name, weight in MlpMixer(config).state_dict().items()}
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    problems = [f"missing: {name} {wanted[name]}" for name in sorted(set(wanted) - set(found))]
    problems += [f"unexpected: {name} {found[name]}" for name in sorted(set(found) - set(wanted))]
    problems += [
        f"shape: {name} is {found[name]}, expected {wanted[name]}"
        for name in sorted(set(wanted) & set(found))
        if wanted[name] != found[name]
    ]
    if problems:
        raise CheckpointError(f"{where}: the weights do not fit this Mixer:\n  " + "\n  ".join(problems))
