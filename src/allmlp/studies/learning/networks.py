"""The networks that learn in studies: Mixers, and a Vision Transformer and a ResNet (timm's) of about the same cost."""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from allmlp.errors import ConfigError, MissingExtraError, did_you_mean
from allmlp.model import MixerConfig, MlpMixer
from allmlp.studies.learning.mixer_variants import MIXER_VARIANTS

__all__ = ["NETWORKS", "features", "make_network", "multiply_adds", "with_classifier"]


def mixer(*, image_size: tuple[int, int], num_classes: int, **widths: Any) -> nn.Module:
    """Return a Mixer; `widths` are those of `MixerConfig`."""
    return MlpMixer(MixerConfig(image_size=image_size, num_classes=num_classes, gelu="erf", **widths))


def vit(
    *, image_size: tuple[int, int], num_classes: int, patch_size: int, hidden_dim: int, num_blocks: int, num_heads: int
) -> nn.Module:
    """Return a Vision Transformer (timm's), whose classifier takes the mean over tokens, as the Mixer's does."""
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=hidden_dim,
        depth=num_blocks,
        num_heads=num_heads,
        num_classes=num_classes,
        global_pool="avg",
        class_token=False,
    )


def resnet(*, image_size: tuple[int, int], num_classes: int, layers: list[int], widths: list[int]) -> nn.Module:
    """Return a ResNet of timm's basic blocks. For photos up to 64 pixels, the stem keeps the resolution.

    `layers` and `widths` are the blocks and channels of each stage. Up to 64 pixels, the form is that for CIFAR of He et al.
    2015, section 4.2: a 3 x 3 convolution and no max-pooling. Shortcuts that change the width are convolutions, as in timm.
    """
    from timm.models.resnet import BasicBlock

    is_small = max(image_size) <= 64
    stem = nn.Conv2d(3, widths[0], 3 if is_small else 7, 1 if is_small else 2, 1 if is_small else 3, bias=False)
    parts: list[nn.Module] = [stem, nn.BatchNorm2d(widths[0]), nn.ReLU()]
    parts += [] if is_small else [nn.MaxPool2d(3, 2, 1)]
    channels = widths[0]
    for stage, (num_blocks, width) in enumerate(zip(layers, widths, strict=True)):
        for index in range(num_blocks):
            stride = 2 if stage and not index else 1
            shortcut = None
            if stride > 1 or channels != width:
                shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            parts.append(BasicBlock(channels, width, stride, shortcut))
            channels = width
    network = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, BasicBlock):
            module.zero_init_last()  # every block starts as the identity, as timm's do
    return network


def published(*, image_size: tuple[int, int], num_classes: int, name: str) -> nn.Module:
    """Return a network of timm's by its name there, such as "resnet50", with new weights; `image_size` must be its own."""
    import timm

    network: nn.Module = timm.create_model(name, num_classes=num_classes)
    facts: Any = network.pretrained_cfg
    assert facts["input_size"] == (3, *image_size), name
    return network


NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "mixer": mixer,
    "vit": vit,
    "resnet": resnet,
    "published": published,
    **MIXER_VARIANTS,
}
"""By name: functions of the image size, the number of classes and widths."""


def make_network(
    kind: str, *, seed: int, image_size: tuple[int, int], num_classes: int, widths: Mapping[str, Any]
) -> nn.Module:
    """Return a new network, its weights drawn with `seed`.

    Raises:
        ConfigError: an unknown kind.
        MissingExtraError: the kind is timm's, and timm is not installed.
    """
    if kind not in NETWORKS:
        raise ConfigError(
            f"unknown network {kind!r}.{did_you_mean(kind, NETWORKS)} Expected one of {', '.join(NETWORKS)}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return NETWORKS[kind](image_size=image_size, num_classes=num_classes, **widths)
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"network {kind} is timm's: pip install 'allmlp[studies]'") from error


def features(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a network without its classifier: a function from images (B, 3, H, W) to (B, d), in the network's mode.

    Of a Mixer and a ViT that is the normalised mean over tokens, of a ResNet the mean over positions.
    """
    if isinstance(network, MlpMixer):
        return network.features
    if isinstance(network, nn.Sequential):
        return network[:-1]
    timms: Any = network
    return lambda images: timms.forward_head(timms.forward_features(images), pre_logits=True)


def with_classifier(network: nn.Module, num_classes: int) -> nn.Module:
    """Return a copy of a Mixer, a ViT or a ResNet with a new classifier for so many classes.

    Its weights are zero for all three, as those of the authors' Mixers are at first (vit_jax, models_mixer.py).
    """
    copied = copy.deepcopy(network)
    before: Any = copied[-1] if isinstance(copied, nn.Sequential) else copied.head
    # Not initialised on a real device, which would draw from the user's generator.
    head = nn.Linear(before.in_features, num_classes, device="meta").to_empty(device=before.weight.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    if isinstance(copied, nn.Sequential):
        copied[-1] = head
    else:
        copied.head = head
    return copied


def multiply_adds(network: nn.Module, image_size: tuple[int, int]) -> int:
    """Return the multiply-adds of one image's forward pass in matrix products and convolutions, as torch counts them.

    A network on torch's meta device is counted under `torch.device("meta")`, without memory or time for its weights.
    """
    from torch.utils.flop_counter import FlopCounterMode

    was_training = network.training
    counter = FlopCounterMode(display=False)
    # torch does not count its fused attention on CPUs, so attention is computed by matrix products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        network.eval()(torch.zeros(1, 3, *image_size))
    network.train(was_training)
    return math.ceil(counter.get_total_flops() / 2)
