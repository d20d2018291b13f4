"""`Checkpoint`: a model description with its weights, and the models and checkpoints derived from it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, cast

from allmlp.checkpoints.description import ModelDescription
from allmlp.checkpoints.validation import check_shapes
from allmlp.data import Preprocessing
from allmlp.errors import CheckpointError, ConfigError
from allmlp.model import MixerConfig, parameter_shapes

if TYPE_CHECKING:
    from torch import Tensor

    from allmlp.model import MlpMixer

__all__ = ["Checkpoint"]

_REASON_FOR_RESAMPLE = "works for any size and was the better starting point where measured: docs/weights.md"


class _DescriptionFields(TypedDict, total=False):
    """The fields of `ModelDescription`, as keyword arguments."""

    config: MixerConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str
    temperature: float


@dataclass(frozen=True, init=False)
class Checkpoint:
    """A trained Mixer: a description and its weights.

    Attributes:
        description: architecture, pre-processing, class names, temperature and source; each is also a property here.
        weights: the complete state dict of `MlpMixer(config)`; floating-point tensors of any width.
    """

    description: ModelDescription
    weights: "Mapping[str, Tensor]"

    def __init__(
        self,
        *,
        weights: "Mapping[str, Tensor]",
        description: ModelDescription | None = None,
        **fields: Unpack[_DescriptionFields],
    ) -> None:
        """Build a checkpoint and check that its weights fit its description.

        Args:
            weights: see the attribute.
            description: None if `fields` give the whole description.
            fields: fields of `ModelDescription`; they override those of `description`.

        Raises:
            CheckpointError: the weights, class names or image size do not fit the configuration, or the temperature is
                invalid.
        """
        if description is None:
            description = ModelDescription(**fields)
        elif fields:
            description = replace(description, **fields)
        object.__setattr__(self, "description", description)
        object.__setattr__(self, "weights", weights)
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        check_shapes(parameter_shapes(self.config), shapes, where=self.source)
        integers = sorted(name for name, weight in weights.items() if not weight.is_floating_point())
        if integers:
            raise CheckpointError(f"{self.source}: these weights are not floating-point: {', '.join(integers)}.")

    @property
    def config(self) -> MixerConfig:
        """The architecture."""
        return self.description.config

    @property
    def preprocessing(self) -> Preprocessing:
        """The path from a photo to the model's input."""
        return self.description.preprocessing

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K class names, in the order of the logits."""
        return self.description.class_names

    @property
    def source(self) -> str:
        """Where the weights came from, in words."""
        return self.description.source

    @property
    def temperature(self) -> float:
        """The divisor of the logits before softmax."""
        return self.description.temperature

    @property
    def has_placeholders(self) -> bool:
        """Whether the class names are only numbers; see `ModelDescription.has_placeholders`."""
        return self.description.has_placeholders

    def class_rows(self, names: Collection[str]) -> dict[str, int]:
        """Return the row of each class, keyed by all its names; see `ModelDescription.class_rows`."""
        return self.description.class_rows(names)

    def replace(
        self, *, weights: "Mapping[str, Tensor] | None" = None, **fields: Unpack[_DescriptionFields]
    ) -> "Checkpoint":
        """Return a copy with these fields of the description replaced, and the weights unless they are None.

        Raises:
            CheckpointError: the weights and the description do not fit each other.
        """
        weights = self.weights if weights is None else weights
        return Checkpoint(weights=weights, description=self.description, **fields)

    def build(self) -> "MlpMixer":
        """Return the Mixer in evaluation mode, on the CPU, with float32 copies of these weights."""
        import torch

        from allmlp.model import MlpMixer

        with torch.device("meta"):
            model = MlpMixer(self.config)
        copies = {
            name: weight.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, weight in self.weights.items()
        }
        model.load_state_dict(copies, assign=True)
        return model.eval()

    def at_resolution(
        self, image_size: int | tuple[int, int], method: Literal["auto", "block", "resample"] = "auto"
    ) -> "Checkpoint":
        """Return this Mixer for images of another size. Only token mixing changes; see model/resolution.py.

        Args:
            image_size: (height, width) in pixels, multiples of the patch size; an int means a square.
            method: "block" is appendix C of the paper and needs whole multiples of the present size; before fine-tuning,
                its logits are the mean of the logits of the image's blocks. "resample" takes any size and keeps the hidden
                width. "auto" is "resample", which was better than "block" where both were measured, before and after a
                short fine-tuning (docs/weights.md). The `source` of the result names the method and the reason.

        Raises:
            ConfigError: the size is invalid (the nearest valid sizes are named), or its weights would take more than half
                of this machine's memory.
        """
        from allmlp.model import at_resolution

        if method not in ("auto", "block", "resample"):
            raise ConfigError(f"method is {method!r}; expected 'auto', 'block' or 'resample'.")
        config = replace(self.config, image_size=cast("tuple[int, int]", image_size))  # an int is made a square
        if config.image_size == self.config.image_size:
            return self
        reason = _REASON_FOR_RESAMPLE if method == "auto" else "as requested"
        chosen = "resample" if method == "auto" else method
        config, weights = at_resolution(self.config, self.weights, config.image_size, method=chosen)
        return self._resized(config, weights, f"token mixing by {chosen!r} ({reason})")

    def at_patch_size(self, patch_size: int) -> "Checkpoint":
        """Return this Mixer for another patch size and the same number of patches: the image size scales with them.

        Raises:
            ConfigError: the patch size is invalid.
        """
        from allmlp.model import at_patch_size

        config, weights = at_patch_size(self.config, self.weights, patch_size)
        if config == self.config:
            return self
        return self._resized(config, weights, f"patches of {patch_size} instead of {self.config.patch_size} pixels")

    def with_new_head(self, class_names: Sequence[str], *, bias: float = 0.0) -> "Checkpoint":
        """Return this Mixer with a classifier for `class_names`: known classes keep their weights, those of new ones are zero.

        New classes get the bias `bias`. `class_rows` decides which classes are known. Unless the classes stay the same,
        the temperature is reset to 1.
        """
        import torch

        rows = self.class_rows(class_names)
        kept = {index: rows[name] for index, name in enumerate(class_names) if name in rows}
        weight = torch.zeros(len(class_names), self.config.hidden_dim)
        biases = torch.full((len(class_names),), bias)
        if kept:
            weight[list(kept)] = self.weights["head.weight"][list(kept.values())].to("cpu", torch.float32)
            biases[list(kept)] = self.weights["head.bias"][list(kept.values())].to("cpu", torch.float32)
        return self.replace(
            config=replace(self.config, num_classes=len(class_names)),
            weights={**self.weights, "head.weight": weight, "head.bias": biases},
            class_names=tuple(class_names),
            temperature=self.temperature if tuple(class_names) == self.class_names else 1.0,
            source=f"{self.source}; new classifier with {len(class_names):,} classes, {len(kept):,} of them kept",
        )

    def _resized(self, config: MixerConfig, weights: "Mapping[str, Tensor]", how: str) -> "Checkpoint":
        before, after = (" × ".join(map(str, size)) for size in (self.config.image_size, config.image_size))
        return self.replace(
            config=config,
            weights=weights,
            preprocessing=replace(self.preprocessing, image_size=config.image_size),
            source=f"{self.source}; from {before} to {after} pixels: {how}",
        )
