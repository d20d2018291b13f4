"""Mixers with another token mixing: the four of appendix A.1, which did not help, and three that the paper does not have.

Each is an `MlpMixer` with some of its modules replaced, so that the Mixer itself needs no options for them. What is not
replaced keeps its name and its initialisation.

B images, S tokens, C channels, D_S the hidden width of token mixing, G channels that are mixed together. The token mixing of a
block maps (B, C, S) to (B, C, S); the plain one takes 2 S D_S C multiply-adds per image.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from allmlp.errors import ConfigError
from allmlp.model import MixerConfig, MlpMixer, lecun_normal_

__all__ = ["MIXER_VARIANTS"]


def untied(*, image_size: tuple[int, int], num_classes: int, **widths: Any) -> nn.Module:
    """Return a Mixer with a separate token-mixing MLP per channel: C times its parameters, and the same multiply-adds.

    Source: appendix A.1, "untying (not sharing) the parameters".
    """
    mixer = _mixer(image_size, num_classes, widths)
    config = mixer.config
    for block in mixer.blocks:
        block.token_mixing = UntiedMlp(config.hidden_dim, config.num_tokens, config.tokens_mlp_dim)
    return mixer


def grouped(*, image_size: tuple[int, int], num_classes: int, num_grouped: int, **widths: Any) -> nn.Module:
    """Return a Mixer that mixes the tokens of G = `num_grouped` neighbouring channels together, by a reshape.

    An MLP of G S inputs is applied to C / G vectors. The paper does not state its hidden width; here it stays D_S, so that
    the multiply-adds are the same, with about G times the parameters.

    Raises:
        ConfigError: `num_grouped` does not divide C.

    Source: appendix A.1, "grouping the channels together".
    """
    mixer = _mixer(image_size, num_classes, widths)
    _check_grouped(mixer.config, num_grouped)
    for block in mixer.blocks:
        block.token_mixing = GroupedMlp(mixer.config, num_grouped)
    return mixer


def views(*, image_size: tuple[int, int], num_classes: int, num_grouped: int, **widths: Any) -> nn.Module:
    """Return a Mixer that mixes the tokens of G = `num_grouped` learned views of the channels together.

    G linear functions from C to C / G channels give as many views of each token; the features of the same number, one of each
    view, are mixed as in `grouped`. The paper does not state how the result becomes C channels again; here it is reshaped, as
    in `grouped`. The views add C² parameters and S C² multiply-adds per block.

    Raises:
        ConfigError: `num_grouped` does not divide C.

    Source: appendix A.1, "grouping the channels together", the second version.
    """
    mixer = _mixer(image_size, num_classes, widths)
    _check_grouped(mixer.config, num_grouped)
    for block in mixer.blocks:
        block.token_mixing = ViewsMlp(mixer.config, num_grouped)
    return mixer


def pyramid(*, image_size: tuple[int, int], num_classes: int, tokens: Sequence[int], **widths: Any) -> nn.Module:
    """Return a Mixer whose token mixing reduces the number of tokens; block i returns `tokens[i]` of them.

    The paper states neither the numbers nor what becomes of the skip connection, whose shape no longer fits. Here a block
    that reduces has none around its token mixing, and D_S is the same in all blocks.

    Raises:
        ConfigError: there is not one number per block, or the numbers grow or are below 1.

    Source: appendix A.1, "pyramids".
    """
    mixer = _mixer(image_size, num_classes, widths)
    config = mixer.config
    before = (config.num_tokens, *tokens[:-1])
    is_falling = all(1 <= after <= count for count, after in zip(before, tokens, strict=False))
    if len(tokens) != config.num_blocks or not is_falling:
        raise ConfigError(
            f"tokens is {list(tokens)}; expected {config.num_blocks} numbers, one per block, from {config.num_tokens} down "
            "to at least 1, none above the one before."
        )
    for index, (count, after) in enumerate(zip(before, tokens, strict=True)):
        if (count, after) == (config.num_tokens, config.num_tokens):
            continue
        block = mixer.blocks[index]
        block.token_mixing = TokenMlp(count, config.tokens_mlp_dim, after)
        if after < count:
            mixer.blocks[index] = ReducingBlock(block)
    return mixer


def linear(*, image_size: tuple[int, int], num_classes: int, **widths: Any) -> nn.Module:
    """Return a Mixer with linear token mixing: one S x S matrix and a bias, no GELU; S² C multiply-adds.

    Source: ours; D_S has no effect.
    """
    mixer = _mixer(image_size, num_classes, widths)
    for block in mixer.blocks:
        block.token_mixing = _linear(mixer.config.num_tokens, mixer.config.num_tokens)
    return mixer


def without_token_norm(*, image_size: tuple[int, int], num_classes: int, **widths: Any) -> nn.Module:
    """Return a Mixer without LayerNorm before token mixing.

    Source: ours.
    """
    mixer = _mixer(image_size, num_classes, widths)
    for block in mixer.blocks:
        block.token_norm = nn.Identity()
    return mixer


def norm_after(*, image_size: tuple[int, int], num_classes: int, **widths: Any) -> nn.Module:
    """Return a Mixer with LayerNorm after each sum of a skip connection and an MLP, and none before the MLPs.

    Source: ours; the placement is that of the first Transformer (arXiv 1706.03762, section 3.1).
    """
    mixer = _mixer(image_size, num_classes, widths)
    for index, block in enumerate(mixer.blocks):
        mixer.blocks[index] = NormAfterBlock(block)
    return mixer


MIXER_VARIANTS: Mapping[str, Callable[..., nn.Module]] = {
    "mixer_untied": untied,
    "mixer_grouped": grouped,
    "mixer_views": views,
    "mixer_pyramid": pyramid,
    "mixer_linear": linear,
    "mixer_without_token_norm": without_token_norm,
    "mixer_norm_after": norm_after,
}
"""By name: functions of the image size, the number of classes and widths."""


class TokenMlp(nn.Module):
    """W2 gelu(W1 x + b1) + b2 along the last axis: (..., S) -> (..., S')."""

    def __init__(self, num_tokens: int, hidden_dim: int, num_outputs: int) -> None:
        super().__init__()
        self.fc1 = _linear(num_tokens, hidden_dim)
        self.fc2 = _linear(hidden_dim, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.fc2(gelu(self.fc1(x)))
        return mixed


class UntiedMlp(nn.Module):
    """An MLP per channel. Biases are vectors, since an optimizer may tell by that what decays."""

    def __init__(self, num_channels: int, num_tokens: int, hidden_dim: int) -> None:
        super().__init__()
        self.weight1 = nn.Parameter(_lecun_normal(num_channels, hidden_dim, num_tokens))
        self.bias1 = nn.Parameter(torch.zeros(num_channels * hidden_dim))
        self.weight2 = nn.Parameter(_lecun_normal(num_channels, num_tokens, hidden_dim))
        self.bias2 = nn.Parameter(torch.zeros(num_channels * num_tokens))

    def forward(self, x: Tensor) -> Tensor:
        hidden = gelu(_per_channel(x.transpose(0, 1), self.weight1, self.bias1))  # (C, B, D_S)
        return _per_channel(hidden, self.weight2, self.bias2).transpose(0, 1)  # (B, C, S)


class GroupedMlp(TokenMlp):
    """The MLP of `grouped`. In (B, C, S), G neighbouring channels follow each other already."""

    def __init__(self, config: MixerConfig, num_grouped: int) -> None:
        super().__init__(num_grouped * config.num_tokens, config.tokens_mlp_dim, num_grouped * config.num_tokens)
        self.num_grouped = num_grouped

    def forward(self, x: Tensor) -> Tensor:
        B, C, S = x.shape
        G = self.num_grouped
        return super().forward(x.reshape(B, C // G, G * S)).reshape(B, C, S)


class ViewsMlp(GroupedMlp):
    """The MLP of `views`. Feature k of view g is channel k G + g of one linear function, which holds all G of them."""

    def __init__(self, config: MixerConfig, num_grouped: int) -> None:
        super().__init__(config, num_grouped)
        self.views = nn.Linear(config.hidden_dim, config.hidden_dim, bias=False)
        lecun_normal_(self.views.weight)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.views(x.transpose(1, 2)).transpose(1, 2))


class ChangedBlock(nn.Module):
    """The modules of a Mixer block under their names, for a block that combines them differently."""

    token_norm: nn.Module
    token_mixing: nn.Module
    channel_norm: nn.Module
    channel_mixing: nn.Module

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        for name, module in block.named_children():
            self.add_module(name, module)

    def mixed_tokens(self, x: Tensor) -> Tensor:
        """Return the token mixing of (B, S, C), in the same order of axes."""
        mixed: Tensor = self.token_mixing(x.transpose(1, 2)).transpose(1, 2)
        return mixed


class ReducingBlock(ChangedBlock):
    """A block whose token mixing, from S to fewer tokens, has no skip connection."""

    def forward(self, x: Tensor, draws: Tensor | None) -> Tensor:  # (B, S, C) -> (B, S', C)
        assert draws is None, "these blocks know no stochastic depth"
        mixed = self.mixed_tokens(self.token_norm(x))
        channels: Tensor = self.channel_mixing(self.channel_norm(mixed))
        return mixed + channels


class NormAfterBlock(ChangedBlock):
    """The block of `norm_after`."""

    def forward(self, x: Tensor, draws: Tensor | None) -> Tensor:  # (B, S, C)
        assert draws is None, "these blocks know no stochastic depth"
        mixed = self.token_norm(x + self.mixed_tokens(x))
        normalised: Tensor = self.channel_norm(mixed + self.channel_mixing(mixed))
        return normalised


def _mixer(image_size: tuple[int, int], num_classes: int, widths: Mapping[str, Any]) -> MlpMixer:
    return MlpMixer(MixerConfig(image_size=image_size, num_classes=num_classes, gelu="erf", **widths))


def _linear(num_inputs: int, num_outputs: int) -> nn.Linear:
    layer = nn.Linear(num_inputs, num_outputs)
    lecun_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _lecun_normal(num_channels: int, num_outputs: int, num_inputs: int) -> Tensor:
    weights = torch.empty(num_channels, num_outputs, num_inputs)
    for weight in weights:
        lecun_normal_(weight)
    return weights


def _per_channel(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # (C, B, in), (C, out, in), (C out) -> (C, B, out)
    return torch.baddbmm(bias.reshape(len(weight), 1, -1), x, weight.transpose(1, 2))


def _check_grouped(config: MixerConfig, num_grouped: int) -> None:
    if num_grouped < 1 or config.hidden_dim % num_grouped:
        raise ConfigError(f"num_grouped is {num_grouped}; expected a divisor of hidden_dim {config.hidden_dim}.")
