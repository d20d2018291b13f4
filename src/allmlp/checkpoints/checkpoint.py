"""`Checkpoint`: a model description with its weights, and the models and checkpoints derived from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, cast

from allmlp.checkpoints.description import (
    THRESHOLD_DROPPED,
    ModelDescription,
    PreprocessingChanges,
    dropped_threshold,
)
from allmlp.checkpoints.torch_module import copied_weights, unwrapped_mixer
from allmlp.checkpoints.unknown_rule import UnknownRule
from allmlp.checkpoints.validation import check_shapes
from allmlp.data import Preprocessing
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.display import quote
from allmlp.model import MixerConfig, parameter_shapes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from allmlp.model import MlpMixer

__all__ = ["UNSTATED_PREPROCESSING", "Checkpoint"]

UNSTATED_PREPROCESSING = "The file does not state its pre-processing."
"""The start of a remark that `Checkpoint.with_preprocessing` answers."""

_REASON_FOR_RESAMPLE = "works for any size and was the better starting point where measured: docs/weights.md"


class _DescriptionFields(TypedDict, total=False):
    """The fields of `ModelDescription`, as keyword arguments."""

    config: MixerConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str
    temperature: float
    unknown: UnknownRule | None


@dataclass(frozen=True, init=False)
class Checkpoint:
    """A trained Mixer: a description and its weights.

    Attributes:
        description: architecture, pre-processing, class names, temperature, `unknown` and source; each is also a property here.
        weights: the complete state dict of `MlpMixer(config)`; floating-point tensors of any width.
        remarks: what its user should know, in sentences: what was assumed when it was loaded, what was left out, and a
            warning about the weights. They are not saved.
    """

    description: ModelDescription
    weights: "Mapping[str, Tensor]" = field(repr=False)
    remarks: tuple[str, ...]

    def __init__(
        self,
        *,
        weights: "Mapping[str, Tensor]",
        description: ModelDescription | None = None,
        remarks: Sequence[str] = (),
        **fields: Unpack[_DescriptionFields],
    ) -> None:
        """Build a checkpoint and check that its weights fit its description.

        Args:
            weights, remarks: see the attributes.
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
        object.__setattr__(self, "remarks", tuple(remarks))
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
    def unknown(self) -> UnknownRule | None:
        """Which photos are answered with "unknown"."""
        return self.description.unknown

    @classmethod
    def from_module(
        cls,
        module: "nn.Module",
        *,
        like: "Checkpoint | ModelDescription",
        class_names: Sequence[str] | None = None,
    ) -> "Checkpoint":
        """Return a copy of what your own loop has trained as a checkpoint, such as for `save_checkpoint`.

        The temperature is 1: a fitted one would not suit the new weights.

        Args:
            module: an `MlpMixer`, also if wrapped by DistributedDataParallel, DataParallel or torch.compile.
            like: the checkpoint that the training started from, or its description: its pre-processing, class names, source.
            class_names: K names in the order of the logits. None keeps those of `like` if it has as many classes, and else
                means "0", "1", ...

        Raises:
            ConfigError: not an `MlpMixer`, one whose weights are quantised or without data, or `like` is not a checkpoint.
            CheckpointError: the weights do not fit the module's configuration, or the names do not fit the classes.
        """
        mixer = unwrapped_mixer(module)
        like = like.description if isinstance(like, Checkpoint) else like
        if not isinstance(like, ModelDescription):
            raise ConfigError(f"like is {quote(like)}; expected the Checkpoint that the training started from.")
        config = mixer.config
        if class_names is None:
            is_kept = config.num_classes == like.config.num_classes
            class_names = like.class_names if is_kept else tuple(map(str, range(config.num_classes)))
        elif isinstance(class_names, str) or not isinstance(class_names, Iterable):
            raise ConfigError(f"class_names is {quote(class_names)}; expected one name per class.")
        return cls(
            weights=copied_weights(mixer),
            config=config,
            preprocessing=replace(like.preprocessing, image_size=config.image_size),
            class_names=tuple(class_names),
            source=f"{like.source}; weights from a module, trained further or changed",
        )

    def replace(
        self, *, weights: "Mapping[str, Tensor] | None" = None, **fields: Unpack[_DescriptionFields]
    ) -> "Checkpoint":
        """Return a copy with these fields of the description replaced, and the weights unless they are None.

        A threshold of "unknown" is kept unless it is among the fields: whoever changes what the features are drops it, as
        `with_preprocessing` and `at_resolution` do.

        Raises:
            CheckpointError: the weights and the description do not fit each other.
        """
        weights = self.weights if weights is None else weights
        remarks = self.remarks
        if fields.get("unknown") is not None:
            remarks = tuple(remark for remark in remarks if not remark.startswith(THRESHOLD_DROPPED))
        return Checkpoint(weights=weights, description=self.description, remarks=remarks, **fields)

    def with_preprocessing(self, changes: PreprocessingChanges) -> "Checkpoint":
        """Return this Mixer with another pre-processing, or with some of its fields changed.

        If a value changes, the threshold of "unknown" is dropped, and a remark says so.

        Raises:
            ConfigError, CheckpointError: as `ModelDescription.with_preprocessing`.
        """
        remarks = [remark for remark in self.remarks if not remark.startswith(UNSTATED_PREPROCESSING)]
        description = self.description.with_preprocessing(changes)
        changed = Checkpoint(weights=self.weights, description=description, remarks=remarks)
        return changed._with_dropped_threshold(self)

    def with_remarks(self, *remarks: str) -> "Checkpoint":
        """Return this Mixer with further remarks."""
        return Checkpoint(weights=self.weights, description=self.description, remarks=(*self.remarks, *remarks))

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

        The threshold of "unknown" is dropped, and a remark says so: it holds for features of the present size.

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

        The threshold of "unknown" is dropped, and a remark says so.

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

        New classes get the bias `bias`. `ModelDescription.class_rows` decides which classes are known. Unless the classes
        stay the same, the temperature is reset to 1, and the threshold of "unknown" is dropped.
        """
        import torch

        rows = self.description.class_rows(class_names)
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
            unknown=self.unknown if tuple(class_names) == self.class_names else None,
            source=f"{self.source}; new classifier with {len(class_names):,} classes"
            + (f", {len(kept):,} of them kept" if kept else ""),
        )

    def _resized(self, config: MixerConfig, weights: "Mapping[str, Tensor]", how: str) -> "Checkpoint":
        before, after = (" × ".join(map(str, size)) for size in (self.config.image_size, config.image_size))
        changed = self.replace(
            config=config,
            weights=weights,
            preprocessing=replace(self.preprocessing, image_size=config.image_size),
            unknown=None,
            source=f"{self.source}; from {before} to {after} pixels: {how}",
        )
        return changed._with_dropped_threshold(self)

    def _with_dropped_threshold(self, before: "Checkpoint") -> "Checkpoint":
        remark = dropped_threshold(before.description, self.description)
        return self.with_remarks(remark) if remark else self
