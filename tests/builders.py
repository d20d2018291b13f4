"""Tiny models for tests: a configuration, its description, and a checkpoint with random weights."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from allmlp import Checkpoint, MixerConfig, ModelDescription, Preprocessing
from allmlp.checkpoints import UnknownRule, encode_statistics

if TYPE_CHECKING:
    import torch

GOLDEN = Path(__file__).parent / "golden"

TINY = MixerConfig(
    image_size=(16, 16),
    patch_size=8,
    num_blocks=2,
    hidden_dim=8,
    tokens_mlp_dim=4,
    channels_mlp_dim=12,
    num_classes=3,
)

# Of the authors' files in golden/.
GOLDEN_CONFIG = MixerConfig(
    image_size=(32, 32),
    patch_size=8,
    num_blocks=3,
    hidden_dim=24,
    tokens_mlp_dim=12,
    channels_mlp_dim=40,
    num_classes=7,
    gelu="tanh",
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


def tiny_checkpoint(*, seed: int = 0, dtype: "torch.dtype | None" = None, **changes: Any) -> Checkpoint:
    """Return a tiny Mixer with random weights; changes as of `tiny_description`."""
    description = tiny_description(**changes)
    return Checkpoint(description=description, weights=random_weights(description.config, seed=seed, dtype=dtype))


def unknown_rule(num_features: int, **fields: Any) -> UnknownRule:
    """Return a rule whose score is minus the squared length of a photo's features: the mean is 0, all variances are 1."""
    statistics = np.zeros((2, num_features + 1), np.float32)
    statistics[:, -1] = statistics[1, 0] = 1
    values: dict[str, Any] = {"threshold": -20.5, "kept": 0.95, "num_photos": 40, **fields}
    return UnknownRule(statistics=encode_statistics(statistics), **values)


def random_weights(
    config: MixerConfig, *, seed: int = 0, dtype: "torch.dtype | None" = None
) -> "dict[str, torch.Tensor]":
    """Return weights of the size that training leaves them, the biases and the classifier too; float32 by default."""
    import torch

    from allmlp.model import parameter_shapes

    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in parameter_shapes(config).items():
        z = torch.randn(shape, generator=generator)
        z = z / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.1 * z + name.endswith("norm.weight")
        weights[name] = z.to(dtype or torch.float32)
    return weights


def assert_same_weights(found: "Mapping[str, torch.Tensor]", expected: "Mapping[str, torch.Tensor]") -> None:
    """Compare names, types and bits, so that -0.0 is not 0.0."""
    import torch

    assert found.keys() == expected.keys()
    for name, weight in found.items():
        assert weight.dtype == expected[name].dtype
        bits, expected_bits = (each.contiguous().view(torch.uint8) for each in (weight, expected[name]))
        assert torch.equal(bits, expected_bits), name
