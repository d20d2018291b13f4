"""Models that run: a forward and the description of what it computes."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from allmlp.checkpoints import Checkpoint
from allmlp.data import Preprocessing, synsets_of
from allmlp.metrics import Forward
from allmlp.model import MixerConfig

__all__ = ["ModelDescription", "Output", "RunnableModel", "describe"]

Output = Literal["logits", "features"]


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What a model is, without its weights; the fields are those of `Checkpoint`."""

    config: MixerConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str
    temperature: float = 1.0

    def class_rows(self, names: Collection[str]) -> dict[str, int]:
        """Return the index of each class by each of its names, as `Checkpoint.class_rows` does."""
        if self.has_placeholders and set(names) != set(self.class_names):
            return {}
        aliases = synsets_of(self.class_names) or ()
        return {name: row for row, name in (*enumerate(aliases), *enumerate(self.class_names))}

    @property
    def has_placeholders(self) -> bool:
        """Whether the classes are called by their numbers, as `Checkpoint.has_placeholders` says."""
        return len(self.class_names) > 10 and self.class_names == tuple(map(str, range(len(self.class_names))))


@dataclass(frozen=True)
class RunnableModel:
    """A model that is ready to compute.

    Attributes:
        forward: from pre-processed images, float32 (B, 3, H, W), to logits (B, K), or to features (B, C).
        description: the model's configuration, pre-processing, class names and temperature.
        output: what `forward` returns.
    """

    forward: Forward
    description: ModelDescription
    output: Output = "logits"


def describe(checkpoint: Checkpoint) -> ModelDescription:
    """Return the description of a checkpoint."""
    return ModelDescription(
        config=checkpoint.config,
        preprocessing=checkpoint.preprocessing,
        class_names=checkpoint.class_names,
        source=checkpoint.source,
        temperature=checkpoint.temperature,
    )
