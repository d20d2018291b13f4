"""Tiny models for tests: a configuration, its description, and a checkpoint with random weights."""

from dataclasses import replace
from typing import Any

from allmlp import Checkpoint, MixerConfig, ModelDescription, Preprocessing

TINY = MixerConfig(
    image_size=(16, 16),
    patch_size=8,
    num_blocks=2,
    hidden_dim=8,
    tokens_mlp_dim=4,
    channels_mlp_dim=12,
    num_classes=3,
)
_DESCRIPTION_FIELDS = ("preprocessing", "class_names", "source", "temperature")


def tiny_config(**changes: Any) -> MixerConfig:
    """Return a configuration of two blocks and four tokens, with changes to its fields."""
    return replace(TINY, **changes)


def tiny_description(**changes: Any) -> ModelDescription:
    """Return the description of a tiny Mixer, with changes to its own fields and to those of its configuration."""
    own = {name: changes.pop(name) for name in _DESCRIPTION_FIELDS if name in changes}
    config = changes.pop("config", TINY)
    config = replace(config, **changes)
    fields: dict[str, Any] = {
        "preprocessing": Preprocessing(image_size=config.image_size),
        "class_names": tuple(f"class {index}" for index in range(config.num_classes)),
        "source": "made by a test",
    }
    return ModelDescription(config=config, **{**fields, **own})


def tiny_checkpoint(*, seed: int = 0, **changes: Any) -> Checkpoint:
    """Return a tiny Mixer with normal random weights; changes as of `tiny_description`."""
    import torch

    from allmlp.model import parameter_shapes

    description = tiny_description(**changes)
    generator = torch.Generator().manual_seed(seed)
    shapes = parameter_shapes(description.config)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return Checkpoint(description=description, weights=weights)
