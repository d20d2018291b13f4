"""`Checkpoint`: weights, and everything that is needed to use them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from allmlp.checkpoints.validation import check_shapes, listed
from allmlp.data import Preprocessing, synsets_of
from allmlp.errors import CheckpointError, ConfigError
from allmlp.model import MixerConfig, parameter_shapes

if TYPE_CHECKING:
    from torch import Tensor

    from allmlp.model import MlpMixer

__all__ = ["Checkpoint"]

# Far beyond what a fit gives; beyond, a division by it would end in zeros or infinity.
_TEMPERATURES = (0.001, 1000.0)

_REASON_FOR_RESAMPLE = "fits any size, and was the better start where measured: docs/weights.md"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained Mixer with its pre-processing and class names.

    Attributes:
        config: the architecture.
        weights: the state of `MlpMixer(config)`, complete, by parameter name; floating-point of any width.
        preprocessing: how a photo becomes the input; its image size is the configuration's.
        class_names: K names in the order of the logits.
        source: where the weights came from, for people: a path, or a sentence.
        temperature: what the logits are divided by to give probabilities, fitted on validation at the end of training;
            it changes no prediction. 1.0 where none was fitted.

    Raises:
        CheckpointError: weights, class names or image size that do not fit the configuration; an impossible temperature.
    """

    config: MixerConfig
    weights: "Mapping[str, Tensor]"
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str
    temperature: float = 1.0

    def __post_init__(self) -> None:
        shapes = {name: tuple(weight.shape) for name, weight in self.weights.items()}
        check_shapes(parameter_shapes(self.config), shapes, where=self.source)
        integers = sorted(name for name, weight in self.weights.items() if not weight.is_floating_point())
        if integers:
            raise CheckpointError(f"{self.source}: these weights are not floating-point: {', '.join(integers)}.")
        if len(self.class_names) != self.config.num_classes:
            raise CheckpointError(
                f"{self.source}: {len(self.class_names)} class names for a classifier of {self.config.num_classes} classes."
            )
        if len(set(self.class_names)) != len(self.class_names):
            twice = sorted(name for name, count in Counter(self.class_names).items() if count > 1)
            raise CheckpointError(f"{self.source}: class names that occur more than once: {listed(twice, ', ')}.")
        if self.preprocessing.image_size != self.config.image_size:
            raise CheckpointError(
                f"{self.source}: the pre-processing makes images of {self.preprocessing.image_size}, "
                f"the Mixer takes {self.config.image_size}."
            )

        is_number = isinstance(self.temperature, int | float) and not isinstance(self.temperature, bool)
        if not is_number or not _TEMPERATURES[0] <= self.temperature <= _TEMPERATURES[1]:  # nor is NaN between
            raise CheckpointError(
                f"{self.source}: temperature is {str(self.temperature)[:80]}; expected a number from {_TEMPERATURES[0]:g} to "
                f"{_TEMPERATURES[1]:g}, 1 for probabilities as trained."
            )

    def build(self) -> "MlpMixer":
        """Return the Mixer in evaluation mode, on the processor, with copies of these weights in float32."""
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
            image_size: (height, width) in pixels, multiples of the patch size; an int is squared.
            method: "block" is appendix C of the paper, for whole multiples of the present size: at first its logits are the
                mean of those of the parts. "resample" takes any size and keeps the hidden width. "auto" is "resample", which
                was better than "block" where both were measured, at once and after a short fine-tuning (docs/weights.md).
                `source` says which it was, and why.

        Raises:
            ConfigError: a size that cannot be (the nearest that can are named), or whose weights would take more than half
                of this machine's memory.
        """
        from allmlp.model import at_resolution

        if method not in ("auto", "block", "resample"):
            raise ConfigError(f"method is {method!r}; expected 'auto', 'block' or 'resample'.")
        config = replace(self.config, image_size=cast("tuple[int, int]", image_size))  # it squares an int
        if config.image_size == self.config.image_size:
            return self
        reason = _REASON_FOR_RESAMPLE if method == "auto" else "as asked"
        chosen = "resample" if method == "auto" else method
        config, weights = at_resolution(self.config, self.weights, config.image_size, method=chosen)
        return self._changed(config, weights, f"token mixing by {chosen!r} ({reason})")

    def at_patch_size(self, patch_size: int) -> "Checkpoint":
        """Return this Mixer for patches of another size and as many of them: the image grows or shrinks with them.

        Raises:
            ConfigError: a patch size that cannot be.
        """
        from allmlp.model import at_patch_size

        config, weights = at_patch_size(self.config, self.weights, patch_size)
        if config == self.config:
            return self
        return self._changed(config, weights, f"patches of {patch_size} instead of {self.config.patch_size} pixels")

    def class_rows(self, names: Collection[str]) -> dict[str, int]:
        """Return the row of each of this Mixer's classes, which is its logit's number too, by what it may be called.

        Of ImageNet's classes their synsets (n01440764) count as names, too. The numbers of weights without names, "0" and so
        on, are no names: they count only where `names`, which are to be looked up, are the very same.
        """
        if self.has_placeholders and set(names) != set(self.class_names):
            return {}
        aliases = synsets_of(self.class_names) or ()
        return {name: row for row, name in (*enumerate(aliases), *enumerate(self.class_names))}

    @property
    def has_placeholders(self) -> bool:
        """Whether the classes are called by their numbers, as those of weights without names are.

        Ten or fewer are taken for names: a Mixer of digits is commoner than weights without names of so few classes.
        """
        return len(self.class_names) > 10 and self.class_names == tuple(map(str, range(len(self.class_names))))

    def with_new_head(self, class_names: Sequence[str], *, bias: float = 0.0) -> "Checkpoint":
        """Return this Mixer with a classifier for other classes: one that stays, by name, keeps its row; others are zero.

        `bias` is that of the others. The temperature, fitted on other classes, begins at 1 again. Which names are the same,
        `class_rows` says.
        """
        import torch

        rows = self.class_rows(class_names)
        kept = {place: rows[name] for place, name in enumerate(class_names) if name in rows}
        weight = torch.zeros(len(class_names), self.config.hidden_dim)
        biases = torch.full((len(class_names),), bias)
        if kept:
            weight[list(kept)] = self.weights["head.weight"][list(kept.values())].to("cpu", torch.float32)
            biases[list(kept)] = self.weights["head.bias"][list(kept.values())].to("cpu", torch.float32)
        return replace(
            self,
            config=replace(self.config, num_classes=len(class_names)),
            weights={**self.weights, "head.weight": weight, "head.bias": biases},
            class_names=tuple(class_names),
            temperature=self.temperature if tuple(class_names) == self.class_names else 1.0,
            source=f"{self.source}; a new head of {len(class_names):,} classes, of which {len(kept):,} are kept",
        )

    def _changed(self, config: MixerConfig, weights: "Mapping[str, Tensor]", how: str) -> "Checkpoint":
        before, after = (" × ".join(map(str, one.image_size)) for one in (self.config, config))
        return replace(
            self,
            config=config,
            weights=weights,
            preprocessing=replace(self.preprocessing, image_size=config.image_size),
            source=f"{self.source}; from {before} to {after} pixels: {how}",
        )
