"""MLP-Mixer, equation 1 of the paper.

Shapes: B images, H × W pixels, patches of P × P, S = H·W / P² tokens, C channels, D_S and D_C hidden widths, K classes.

    U[:, i] = X[:, i] + W2 gelu(W1 LayerNorm(X)[:, i])     token mixing, the same for every channel i
    Y[j, :] = U[j, :] + W4 gelu(W3 LayerNorm(U)[j, :])     channel mixing, the same for every token j
"""

import dataclasses
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from allmlp.model.parameters import LAYER_NORM_EPSILON
from allmlp.model.variants import MixerConfig, variant_config

__all__ = ["MlpMixer", "create", "lecun_normal_"]

# Standard deviation of a standard normal truncated at ±2; flax divides by it (jax/nn/initializers.py).
TRUNCATED_NORMAL_STD = 0.87962566103423978


def create(variant: str, **changes: Any) -> "MlpMixer":
    """Build a new Mixer of a variant of table 1, such as `create("B/16", num_classes=10, image_size=256)`.

    `changes` are fields of `MixerConfig`. Under `torch.device("meta")`, no memory is allocated.

    Raises:
        ConfigError: an unknown variant or field, or an invalid value.
    """
    return MlpMixer(variant_config(variant, **changes))


class MlpMixer(nn.Module):
    """A Mixer, initialised as in flax: LeCun normal weights, zero biases, and a zero classifier.

    Attributes:
        head: the classifier; None if there is none. It may be replaced by another `nn.Linear`: `config` follows.
        activation_checkpointing: whether to recompute each block in the backward pass, which needs memory for one block
            instead of all, and about a third more time. The gradients are the same.
    """

    def __init__(self, config: MixerConfig) -> None:
        if not isinstance(config, MixerConfig):  # a template may leave the number of classes open
            raise TypeError("MlpMixer takes a MixerConfig; create one with MixerTemplate.with_num_classes")
        super().__init__()
        self._config = config
        self.activation_checkpointing = False
        self.patch_projection = PatchProjection(config.patch_size, config.hidden_dim)
        self.blocks = nn.ModuleList(
            MixerBlock(config, drop_probability=config.stochastic_depth * index / max(config.num_blocks - 1, 1))
            for index in range(config.num_blocks)
        )
        self.pre_head_norm = nn.LayerNorm(config.hidden_dim, eps=LAYER_NORM_EPSILON)
        self.head = classifier(config)

    @property
    def config(self) -> MixerConfig:
        """Its configuration. The number of classes is that of the present `head`."""
        num_classes = self._config.num_classes
        head = getattr(self, "head", None)
        if head is None or isinstance(head, nn.Identity):
            num_classes = 0
        elif isinstance(head, nn.Linear):
            num_classes = head.out_features
        is_same = num_classes == self._config.num_classes
        return self._config if is_same else dataclasses.replace(self._config, num_classes=num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by one for `num_classes` classes, whose weights are zero; 0 removes it.

        Raises:
            ConfigError: an invalid number of classes.
        """
        self._config = dataclasses.replace(self._config, num_classes=num_classes)
        head, like = classifier(self._config), self.pre_head_norm.weight
        self.head = head if head is None else head.to(like.device, like.dtype)

    def features(self, images: Tensor, *, depth_draws: Tensor | None = None) -> Tensor:
        """Return (B, C): the mean over tokens of the normalised output of the last block.

        Args:
            images: (B, 3, H, W), pre-processed.
            depth_draws: (B, 2 N), uniform in [0, 1), two per block: decide which branches stochastic depth drops. None
                draws from torch's generator. Used only in training with stochastic depth.
        """
        config = self.config
        if images.ndim != 4 or images.shape[1:] != (3, *config.image_size):
            height, width = config.image_size
            raise ValueError(f"images have shape {tuple(images.shape)}; this Mixer takes (B, 3, {height}, {width}).")
        dropping = self.training and config.stochastic_depth > 0
        if dropping and depth_draws is None:
            depth_draws = torch.rand(images.shape[0], 2 * config.num_blocks, device=images.device)
        x = self.patch_projection(images)  # (B, S, C)
        for index, block in enumerate(self.blocks):
            draws = depth_draws[:, 2 * index : 2 * index + 2] if dropping and depth_draws is not None else None
            if self.activation_checkpointing and self.training:
                x = checkpoint(block, x, draws, use_reentrant=False)
            else:
                x = block(x, draws)
        features: Tensor = self.pre_head_norm(x).mean(dim=1)  # (B, C)
        return features

    def forward(self, images: Tensor, *, depth_draws: Tensor | None = None) -> Tensor:
        """Return logits (B, K) of images (B, 3, H, W), or features (B, C) if `num_classes` is 0.

        `images` may also be the features (B, C) of images.
        """
        is_features = images.ndim == 2 and images.shape[1] == self.config.hidden_dim
        features = images if is_features else self.features(images, depth_draws=depth_draws)
        return features if self.head is None else self.head(features)


def classifier(config: MixerConfig) -> nn.Linear | None:
    """Return a classifier that is zero; None if there are no classes."""
    if not config.num_classes:
        return None
    head = nn.Linear(config.hidden_dim, config.num_classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class PatchProjection(nn.Module):
    """Linear projection of each patch of P × P × 3 pixels to C channels.

    Equivalent to a convolution with stride P, but computed as one matrix product, which is faster on CPUs.
    """

    def __init__(self, patch_size: int, hidden_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden_dim, 3, patch_size, patch_size))
        self.bias = nn.Parameter(torch.zeros(hidden_dim))
        lecun_normal_(self.weight)

    def forward(self, images: Tensor) -> Tensor:
        B, _, H, W = images.shape
        P = self.weight.shape[-1]
        patches = images.reshape(B, 3, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5)  # (B, H/P, W/P, 3, P, P)
        S = (H // P) * (W // P)  # explicit, because reshape cannot infer -1 for an empty batch
        return F.linear(patches.reshape(B, S, 3 * P * P), self.weight.flatten(1), self.bias)  # (B, S, C)


class MixerBlock(nn.Module):
    """Token mixing, then channel mixing (equation 1)."""

    def __init__(self, config: MixerConfig, *, drop_probability: float) -> None:
        super().__init__()
        self.drop_probability = drop_probability
        self.token_norm = nn.LayerNorm(config.hidden_dim, eps=LAYER_NORM_EPSILON)
        self.token_mixing = Mlp(config.num_tokens, config.tokens_mlp_dim, config)
        self.channel_norm = nn.LayerNorm(config.hidden_dim, eps=LAYER_NORM_EPSILON)
        self.channel_mixing = Mlp(config.hidden_dim, config.channels_mlp_dim, config)

    def forward(self, x: Tensor, draws: Tensor | None) -> Tensor:  # x: (B, S, C); draws: (B, 2)
        mixed = self.token_mixing(self.token_norm(x).transpose(1, 2)).transpose(1, 2)
        x = x + self._survivors(mixed, draws, 0)
        mixed = self.channel_mixing(self.channel_norm(x))
        return x + self._survivors(mixed, draws, 1)

    def _survivors(self, branch: Tensor, draws: Tensor | None, column: int) -> Tensor:
        if draws is None:
            return branch
        # Survivors are not rescaled by 1 / (1 - p), as in the authors' training code (big_vision, models/mlp_mixer.py), for
        # which its recipes are tuned. At evaluation, a branch therefore has 1 / (1 - p) times its mean in training.
        kept = (draws[:, column] >= self.drop_probability).to(branch.dtype)
        return branch * kept[:, None, None]


class Mlp(nn.Module):
    """W2 gelu(W1 x + b1) + b2 along the last axis, with dropout after the GELU and after the second layer."""

    def __init__(self, dim: int, hidden_dim: int, config: MixerConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.dropout = config.dropout
        self.gelu = "tanh" if config.gelu == "tanh" else "none"  # torch's names
        for layer in (self.fc1, self.fc2):
            lecun_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.fc1(x), approximate=self.gelu)
        if self.dropout:
            x = F.dropout(x, self.dropout, self.training)
        x = self.fc2(x)
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


def lecun_normal_(weight: Tensor) -> None:
    """Initialise `weight` (out, in, ...) as flax: variance 1 / fan-in, from a normal truncated at two standard deviations."""
    fan_in = weight[0].numel()
    std = 1.0 / math.sqrt(fan_in) / TRUNCATED_NORMAL_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
