"""Cost of a Mixer per part: parameters and multiply-adds, computed from its configuration without building it."""

from dataclasses import dataclass

from allmlp.model.variants import MixerConfig

__all__ = ["PartCost", "cost", "num_multiply_adds", "num_parameters"]


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """Cost of one part of a Mixer.

    Attributes:
        part: "patch projection", "token mixing", "channel mixing", "layer norms" or "classifier".
        parameters: number of parameters in all blocks.
        multiply_adds: per image. Only matrix products, as is customary; GFLOPs are 2e-9 times this.
    """

    part: str
    parameters: int
    multiply_adds: int


def cost(config: MixerConfig) -> tuple[PartCost, ...]:
    """Return the cost of each part, in the order of the forward pass."""
    S, C, N, K = config.num_tokens, config.hidden_dim, config.num_blocks, config.num_classes
    D_S, D_C = config.tokens_mlp_dim, config.channels_mlp_dim
    patch = 3 * config.patch_size**2
    return (
        PartCost(part="patch projection", parameters=(patch + 1) * C, multiply_adds=S * patch * C),
        PartCost(part="token mixing", parameters=N * (2 * S * D_S + D_S + S), multiply_adds=N * 2 * S * D_S * C),
        PartCost(part="channel mixing", parameters=N * (2 * C * D_C + D_C + C), multiply_adds=N * 2 * C * D_C * S),
        PartCost(part="layer norms", parameters=(2 * N + 1) * 2 * C, multiply_adds=0),
        PartCost(part="classifier", parameters=(C + 1) * K, multiply_adds=C * K),
    )


def num_parameters(config: MixerConfig) -> int:
    """Return the total number of parameters, including the classifier."""
    return sum(part.parameters for part in cost(config))


def num_multiply_adds(config: MixerConfig) -> int:
    """Return the number of multiply-adds of one image's forward pass, including the classifier."""
    return sum(part.multiply_adds for part in cost(config))
