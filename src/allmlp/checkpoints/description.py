"""`ModelDescription`: what a model is, without its weights. No torch is needed for it."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from allmlp.checkpoints.validation import listed
from allmlp.config import from_dict, to_dict
from allmlp.data import Preprocessing, synsets_of
from allmlp.errors import CheckpointError, ConfigError
from allmlp.model import MixerConfig

__all__ = ["FORMAT", "ModelDescription"]

FORMAT = "allmlp checkpoint"
"""What config.json says in "format"."""

VERSION = 1

# Far beyond what a fit gives; outside, dividing by it would end in zeros or infinity.
_TEMPERATURES = (0.001, 1000.0)


@dataclass(frozen=True, kw_only=True)
class _ConfigFile:
    """The keys of config.json and their types."""

    format: str
    version: int
    model: MixerConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """A Mixer's architecture, pre-processing and class names: all but its weights.

    Attributes:
        config: the architecture.
        preprocessing: how a photo becomes the input; its image size is the configuration's.
        class_names: K unique names in the order of the logits.
        source: where the weights came from, for people: a path, or a sentence.
        temperature: what the logits are divided by to give probabilities, fitted on validation at the end of training;
            it changes no prediction. 1.0 where none was fitted.

    Raises:
        CheckpointError: class names or an image size that do not fit the configuration; an invalid temperature.
    """

    config: MixerConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str
    temperature: float = 1.0

    def __post_init__(self) -> None:
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

    @property
    def has_placeholders(self) -> bool:
        """Whether the classes are called by their numbers, as those of weights without names are.

        Ten or fewer are taken for names: a Mixer of digits is commoner than weights without names of so few classes.
        """
        return len(self.class_names) > 10 and self.class_names == tuple(map(str, range(len(self.class_names))))

    def class_rows(self, names: Collection[str]) -> dict[str, int]:
        """Return the row of each class, which is its logit's number too, by every name it may be called.

        Of ImageNet's classes their synsets (n01440764) count as names, too. The numbers of weights without names, "0" and so
        on, are not names: they count only where `names`, which are to be looked up, are the very same.
        """
        if self.has_placeholders and set(names) != set(self.class_names):
            return {}
        aliases = synsets_of(self.class_names) or ()
        return {name: row for row, name in (*enumerate(aliases), *enumerate(self.class_names))}

    def to_json_object(self) -> dict[str, Any]:
        """Return the object of config.json."""
        values = to_dict(
            _ConfigFile(
                format=FORMAT,
                version=VERSION,
                model=self.config,
                preprocessing=self.preprocessing,
                class_names=self.class_names,
                source=self.source,
                temperature=self.temperature,
            )
        )
        if self.temperature == 1.0:
            del values["temperature"]  # as it was written before there was one
        return values

    @classmethod
    def from_json_object(cls, values: Mapping[str, Any], *, where: str) -> "ModelDescription":
        """Return what a config.json says; `where` leads an error.

        Raises:
            CheckpointError: another format or version, or missing, unknown or invalid values.
        """
        if values.get("format") != FORMAT:
            raise CheckpointError(f'{where}: not a configuration of allmlp (it lacks "format": "{FORMAT}").')
        if values.get("version") != VERSION:
            raise CheckpointError(
                f"{where}: version {str(values.get('version'))[:80]} of the format; "
                f"this allmlp reads version {VERSION}. Update allmlp."
            )
        try:
            read = from_dict(_ConfigFile, values, where=where)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
        except RecursionError as error:
            raise CheckpointError(
                f"{where}: lists in lists too deep; this is no checkpoint's configuration."
            ) from error
        try:
            return cls(
                config=read.model,
                preprocessing=read.preprocessing,
                class_names=read.class_names,
                source=read.source,
                temperature=read.temperature,
            )
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from error
