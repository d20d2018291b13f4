"""`ModelDescription`: everything about a model but its weights. It does not need torch."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from allmlp.checkpoints.unknown_rule import UnknownRule
from allmlp.config import from_dict, to_dict
from allmlp.data import Preprocessing, changed_settings, synsets_of
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.display import escape, quote, shorten, summarise
from allmlp.model import MixerConfig

__all__ = ["DIGEST_KEY", "FORMAT", "THRESHOLD_DROPPED", "ModelDescription", "PreprocessingChanges", "dropped_threshold"]

PreprocessingChanges = Preprocessing | Mapping[str, Any]
"""Another pre-processing, or a dictionary of the fields that change, such as {"mean": (0, 0, 0), "std": (1, 1, 1)}."""

DIGEST_KEY = "sha256"
"""The key of a config.json under which formats/digests.py writes the digest of the other values."""

FORMAT = "allmlp checkpoint"
"""The value of "format" in config.json."""

THRESHOLD_DROPPED = 'The threshold of "unknown" was dropped'
"""The start of the remark of `dropped_threshold`."""

VERSION = 1

# Far wider than any fitted value. Outside this range, the division would overflow or flatten all logits to zero.
_TEMPERATURE_RANGE = (0.001, 1000.0)
_MAX_SOURCE_CHARACTERS = 2000


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
    unknown: UnknownRule | None = None


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """A Mixer's architecture, pre-processing and class names: everything but its weights.

    Attributes:
        config: the architecture.
        preprocessing: the path from a photo to the model's input; its image size is that of `config`.
        class_names: K unique names, in the order of the logits.
        source: where the weights came from, in words: a path or a sentence, on one printable line.
        temperature: the divisor of the logits before softmax, fitted on the validation split at the end of training;
            it changes no prediction. 1.0 if none was fitted.
        unknown: which photos are answered with "unknown"; None if no threshold was fitted.

    Raises:
        CheckpointError: the class names or the image size do not fit the configuration, or the temperature is invalid.
    """

    config: MixerConfig
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: str
    temperature: float = 1.0
    unknown: UnknownRule | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", escape(self.source))  # it may be a stranger's, and is printed and logged
        if not all(isinstance(name, str) for name in self.class_names):
            raise CheckpointError(f"{self.source}: the class names are {quote(self.class_names)}; expected texts.")
        if len(self.class_names) != self.config.num_classes:
            raise CheckpointError(
                f"{self.source}: {len(self.class_names)} class names for a classifier of {self.config.num_classes} classes."
            )
        if len(set(self.class_names)) != len(self.class_names):
            repeated = sorted(name for name, count in Counter(self.class_names).items() if count > 1)
            raise CheckpointError(
                f"{self.source}: these class names occur more than once: {summarise(repeated, limit=400)}."
            )
        if self.preprocessing.image_size != self.config.image_size:
            raise CheckpointError(
                f"{self.source}: the pre-processing produces images of {self.preprocessing.image_size}, "
                f"but the Mixer takes {self.config.image_size}."
            )
        is_number = isinstance(self.temperature, int | float) and not isinstance(self.temperature, bool)
        low, high = _TEMPERATURE_RANGE
        if not is_number or not low <= self.temperature <= high:  # also true of NaN
            raise CheckpointError(
                f"{self.source}: temperature is {str(self.temperature)[:80]}; expected a number from {low:g} to {high:g} "
                "(1 leaves the logits as they are)."
            )

        if self.unknown is not None:
            try:
                self.unknown.matrix(self.config.hidden_dim)
            except CheckpointError as error:
                raise CheckpointError(f"{self.source}: {error}") from error

    @property
    def has_placeholders(self) -> bool:
        """Whether the class names are only the numbers from 0, as for weights that come without names.

        Ten or fewer such names count as real: a Mixer of digits is more common than unnamed weights of so few classes.
        """
        return len(self.class_names) > 10 and self.class_names == tuple(map(str, range(len(self.class_names))))

    def class_rows(self, names: Collection[str]) -> dict[str, int]:
        """Return the row of each class (the index of its logit), keyed by all its names.

        ImageNet's classes are also known by their synsets (n01440764). Placeholders ("0", "1", ...) are not names: they
        match only if `names`, the names to look up, are exactly the same set.
        """
        if self.has_placeholders and set(names) != set(self.class_names):
            return {}
        aliases = synsets_of(self.class_names) or ()
        return {name: row for row, name in (*enumerate(aliases), *enumerate(self.class_names))}

    def with_preprocessing(self, changes: PreprocessingChanges) -> "ModelDescription":
        """Return this description with another pre-processing, or with some of its fields changed.

        A change of `law` to one of the authors' also sets `fit`, `crop_fraction` and `interpolation` to those of their
        evaluation; a change to a setting that the law's code does not have makes the law "allmlp"; and a change of `fit` to
        "pad" sets `crop_fraction` to 1, as nothing is cropped: each unless that is given, too. If a value really changes, the
        threshold of "unknown" is dropped, which was fitted to features of other pixels (see `dropped_threshold`).

        Raises:
            ConfigError: an unknown field or an invalid value.
            CheckpointError: another image size than the model's.
        """
        if isinstance(changes, Preprocessing):
            return self._seeing(changes)
        if not isinstance(changes, Mapping):
            raise ConfigError(
                f"preprocessing is {quote(changes)}; expected a Preprocessing, or a dictionary of the fields to change, "
                "such as {'mean': (0, 0, 0), 'std': (1, 1, 1)}."
            )
        values = changed_settings(to_dict(self.preprocessing), changes)
        return self._seeing(from_dict(Preprocessing, values, where="preprocessing"))

    def _seeing(self, preprocessing: Preprocessing) -> "ModelDescription":
        unknown = self.unknown if preprocessing == self.preprocessing else None
        return replace(self, preprocessing=preprocessing, unknown=unknown)

    def to_json_object(self) -> dict[str, Any]:
        """Return the JSON object for config.json."""
        values = to_dict(
            _ConfigFile(
                format=FORMAT,
                version=VERSION,
                model=self.config,
                preprocessing=self.preprocessing,
                class_names=self.class_names,
                source=self.source,
                temperature=self.temperature,
                unknown=self.unknown,
            )
        )
        if self.temperature == 1.0:
            del values["temperature"]  # the same bytes as before temperatures existed
        if self.unknown is None:
            del values["unknown"]
        if self.preprocessing.law == "allmlp":
            del values["preprocessing"]["law"]  # likewise: files without a law are of ours
        return values

    @classmethod
    def from_json_object(cls, values: Mapping[str, Any], *, where: str) -> "ModelDescription":
        """Parse the object of a config.json; error messages start with `where`.

        Raises:
            CheckpointError: another format or version, or missing, unknown or invalid values.
        """
        if values.get("format") != FORMAT:
            raise CheckpointError(f'{where}: not a configuration written by allmlp (it lacks "format": "{FORMAT}").')
        if values.get("version") != VERSION:
            raise CheckpointError(
                f"{where}: its format has version {escape(str(values.get('version'))[:80])}; "
                f"this allmlp reads version {VERSION}. Update allmlp."
            )
        values = {name: value for name, value in values.items() if name != DIGEST_KEY}
        try:
            read = from_dict(_ConfigFile, values, where=where)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from error
        except RecursionError as error:
            raise CheckpointError(
                f"{where}: lists are nested too deeply; this is not a checkpoint's configuration."
            ) from error
        try:
            return cls(
                config=read.model,
                preprocessing=read.preprocessing,
                class_names=read.class_names,
                source=shorten(read.source, _MAX_SOURCE_CHARACTERS),
                temperature=read.temperature,
                unknown=read.unknown,
            )
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from error


def dropped_threshold(before: ModelDescription, after: ModelDescription) -> str:
    """Return a remark if a model was changed so that its threshold of "unknown" no longer holds; "" if it has what it had."""
    if before.unknown is None or after.unknown is not None:
        return ""
    is_resized = before.config.image_size != after.config.image_size
    what = "images of another size" if is_resized else "photos with another pre-processing"
    return (
        f"{THRESHOLD_DROPPED}: it was fitted on {what}, and every photo now gets one of the classes. To fit one again, add the "
        "same options to: allmlp convert CHECKPOINT NEW --to allmlp --unknown-from PHOTOS"
    )
