"""Configuration of a Mixer, and the seven variants of the paper, without torch."""

import dataclasses
import operator
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from allmlp.errors import ConfigError, did_you_mean

__all__ = ["MAX_SIDE", "VARIANTS", "Gelu", "MixerConfig", "MixerTemplate", "as_sides", "variant_config"]

# Far beyond any Mixer. A configuration may come from an untrusted file; within these bounds, no number of weights
# overflows 63 bits, and no list of weights takes long.
MAX_BLOCKS = 1_000
MAX_SIDE = 1 << 16
MAX_WIDTH = 1 << 20

Gelu = Literal["tanh", "erf"]
"""Formula of the GELU: "tanh" as in the authors' code (flax's default), "erf" as in timm."""


@dataclass(frozen=True, kw_only=True)
class MixerTemplate:
    """Dimensions of a Mixer, named as in table 1. The number of classes may be left open.

    Attributes:
        image_size: (height, width) in pixels; an int means a square.
        patch_size: P, the side of a patch in pixels; must divide both sides of the image.
        num_blocks: N, the number of Mixer layers.
        hidden_dim: C, the width of a token.
        tokens_mlp_dim: D_S, the hidden width of token mixing.
        channels_mlp_dim: D_C, the hidden width of channel mixing.
        num_classes: K; 0 means no classifier (the model returns features); None leaves it to the data.
        gelu: "tanh" as in the authors' code, "erf" as in timm.
        stochastic_depth: drop probability of the last block, in [0, 1); it rises linearly from 0 at the first block.
        dropout: in [0, 1); applied after the GELU and after the second layer of every MLP, in training only.

    Raises:
        ConfigError: an invalid size or width; the nearest valid image sizes are named.
    """

    image_size: tuple[int, int]
    patch_size: int
    num_blocks: int
    hidden_dim: int
    tokens_mlp_dim: int
    channels_mlp_dim: int
    num_classes: int | None = None
    gelu: Gelu = "tanh"
    stochastic_depth: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", as_sides(self.image_size))
        widths = dict.fromkeys(("hidden_dim", "tokens_mlp_dim", "channels_mlp_dim"), MAX_WIDTH)
        for name, maximum in {"patch_size": MAX_SIDE, "num_blocks": MAX_BLOCKS, **widths}.items():
            value = getattr(self, name)
            if not _is_int(value) or not 1 <= value <= maximum:
                raise ConfigError(f"{name} is {value!r}; expected a whole number from 1 to {maximum:,}.")
        self._check_num_classes()
        if self.gelu not in ("tanh", "erf"):
            raise ConfigError(f"gelu is {self.gelu!r}; expected 'tanh' (the authors' code) or 'erf' (timm).")
        for name in ("stochastic_depth", "dropout"):
            rate = getattr(self, name)
            if not isinstance(rate, int | float) or not 0.0 <= rate < 1.0:
                raise ConfigError(f"{name} is {rate!r}; expected a probability of at least 0 and below 1.")
        self._check_image_size()

    def _check_num_classes(self) -> None:
        if self.num_classes is None:
            return
        if not _is_int(self.num_classes) or not 0 <= self.num_classes <= MAX_WIDTH:
            raise ConfigError(
                f"num_classes is {self.num_classes!r}; expected a whole number from 0 (no classifier) to {MAX_WIDTH:,}."
            )

    def _check_image_size(self) -> None:
        size = self.image_size
        if not isinstance(size, tuple) or len(size) != 2 or not all(map(_is_side, size)):
            raise ConfigError(
                f"image_size is {size!r}; expected (height, width) in pixels up to {MAX_SIDE:,}, "
                "such as 224 or (192, 256)."
            )
        if any(side % self.patch_size for side in size):
            nearest = sorted(_multiples_around(size[0], self.patch_size) | _multiples_around(size[1], self.patch_size))
            raise ConfigError(
                f"image_size {size[0]} × {size[1]} is not a multiple of patch_size {self.patch_size}. "
                f"Nearest valid sides: {', '.join(map(str, nearest))}."
            )

    def with_num_classes(self, num_classes: int | None) -> "MixerConfig":
        """Return the configuration of a Mixer with this number of classes.

        Raises:
            ConfigError: an invalid number, or None.
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return MixerConfig(**{**values, "num_classes": num_classes})

    @property
    def grid(self) -> tuple[int, int]:
        """Number of patches along the height and the width."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def num_tokens(self) -> int:
        """S, the number of patches."""
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True, kw_only=True)
class MixerConfig(MixerTemplate):
    """Configuration of a Mixer: a template with a known number of classes (default: ImageNet's 1000)."""

    num_classes: int = 1000

    def _check_num_classes(self) -> None:
        if self.num_classes is None:
            raise ConfigError("num_classes is None; expected a whole number (0 for no classifier).")
        super()._check_num_classes()

    def as_template(self) -> MixerTemplate:
        """Return the same configuration with an open number of classes."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return MixerTemplate(**{**values, "num_classes": None})


def as_sides(image_size: Any) -> Any:
    """Return an image size as (height, width): an integer of any type, such as NumPy's, means a square.

    What is not an image size is returned as it is.
    """
    if isinstance(image_size, tuple | list):
        return tuple(_as_int(side) for side in image_size)
    side = _as_int(image_size)
    return (side, side) if _is_int(side) else image_size


def _as_int(value: Any) -> Any:
    if isinstance(value, int | float | str):
        return value
    try:
        return operator.index(value)
    except TypeError:
        return value


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_side(value: object) -> bool:
    return _is_int(value) and 1 <= value <= MAX_SIDE


def _multiples_around(side: int, patch_size: int) -> set[int]:
    below = side // patch_size * patch_size
    return {size for size in (below, below + (patch_size if side % patch_size else 0)) if size > 0}


def _variant(
    num_blocks: int, patch_size: int, hidden_dim: int, channels_mlp_dim: int, tokens_mlp_dim: int
) -> MixerConfig:
    return MixerConfig(
        image_size=(224, 224),
        patch_size=patch_size,
        num_blocks=num_blocks,
        hidden_dim=hidden_dim,
        tokens_mlp_dim=tokens_mlp_dim,
        channels_mlp_dim=channels_mlp_dim,
    )


# Table 1; columns: N, P, C, D_C, D_S.
VARIANTS: dict[str, MixerConfig] = {
    "S/32": _variant(8, 32, 512, 2048, 256),
    "S/16": _variant(8, 16, 512, 2048, 256),
    "B/32": _variant(12, 32, 768, 3072, 384),
    "B/16": _variant(12, 16, 768, 3072, 384),
    "L/32": _variant(24, 32, 1024, 4096, 512),
    "L/16": _variant(24, 16, 1024, 4096, 512),
    "H/14": _variant(32, 14, 1280, 5120, 640),
}


def variant_config(variant: str, **changes: Any) -> MixerConfig:
    """Return the configuration of a variant of table 1, with `changes` to any field of `MixerConfig`.

    Raises:
        ConfigError: an unknown variant or field (the nearest are named), or an invalid value.
    """
    if variant not in VARIANTS:
        raise ConfigError(
            f"Unknown variant {variant!r}.{did_you_mean(variant, VARIANTS)} Variants: {', '.join(VARIANTS)}."
        )
    known = {field.name for field in dataclasses.fields(MixerConfig)}
    for name in changes:
        if name not in known:
            raise ConfigError(
                f"Unknown Mixer setting {name!r}.{did_you_mean(name, known)} Settings: {', '.join(sorted(known))}."
            )
    return dataclasses.replace(VARIANTS[variant], **changes)
