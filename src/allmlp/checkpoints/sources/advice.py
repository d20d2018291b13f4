"""What the user may have meant by a source that does not exist: a similar path or name, another model, an address."""

import os
import re

from allmlp.checkpoints.sources.catalog import CATALOG, SIZES
from allmlp.errors import did_you_mean
from allmlp.io.path_problem import path_advice
from allmlp.io.remote_address import ADDRESS_ADVICE, is_address
from allmlp.model import VARIANTS

__all__ = ["advice_for"]

_EXPECTED = (
    "Expected a run folder, a checkpoint folder, a weight file (.npz, .safetensors, .pth), hf:OWNER/NAME, starter, or a "
    "published Mixer (`allmlp models` lists them)."
)
_VARIANT = re.compile(r"[A-Za-z]{1,2}/\d{1,2}")
_HUB_NAME = re.compile(r"(\w[\w.-]*)/\w[\w.-]*", re.ASCII)  # not ~/mine or ../mine
_HUB_PAGE = re.compile(r"(?:https?:/+)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+?)/?", re.IGNORECASE)

# Names of models that are not MLP-Mixers, as in timm and on the Hub, and what they are.
_OTHER_MODELS: tuple[tuple[str, str], ...] = (
    (r"gmixer", "a gMixer, a Mixer with gated MLPs"),
    (r"gmlp", "a gMLP"),
    (r"resmlp", "a ResMLP"),
    (r"conv-?mixer", "a ConvMixer, a convolutional network"),
    (r"owl-?(vit|v2)", "an OWL-ViT, an object detector"),
    (r"swin", "a Swin Transformer"),
    (r"(deit|beit|eva|dino|vit)(v?\d)?([-_]|$)", "a Vision Transformer"),
    (r"clip|siglip", "a model of images and text"),
    (r"(wide_)?res(ne[xs]t|net)|resnetv2|seresnet", "a ResNet"),
    (r"conv-?next", "a ConvNeXt"),
    (r"(tf_)?efficientnet|mobilenet|mnasnet", "an EfficientNet or MobileNet"),
    (r"densenet|vgg|alexnet|inception|regnet|yolo", "a convolutional network"),
)


def advice_for(source: str) -> str:
    """Return sentences about a source that does not exist: what the user may have meant, and what is expected."""
    if is_address(source) or _HUB_PAGE.fullmatch(source):
        page = _HUB_PAGE.fullmatch(source)
        return f"{ADDRESS_ADVICE} For this repository, give hf:{page[1]}." if page else ADDRESS_ADVICE
    names = (*CATALOG, "starter") if "/" not in source else ()
    if near := path_advice(source, names):
        return f"{near} {_EXPECTED}"
    name = source.removeprefix("timm/").lower()
    for pattern, what in _OTHER_MODELS:
        if re.match(pattern, name):
            return f"This is the name of {what}; allmlp only has MLP-Mixers. {_EXPECTED}"
    if _VARIANT.fullmatch(source):
        return f"{_about_variant(source)} {_EXPECTED}"
    near = did_you_mean(source, CATALOG).lstrip()
    on_hub = _HUB_NAME.fullmatch(source)
    if not near and on_hub and not os.path.isdir(on_hub[1]):  # noqa: PTH112 - takes any text
        near = f"Did you mean hf:{source}, a repository on the Hugging Face Hub?"
    return f"{near} {_EXPECTED}".lstrip()


def _about_variant(source: str) -> str:
    variant = source.upper()
    if variant not in SIZES:
        near = did_you_mean(variant, SIZES).lstrip()
        return f"{near} The sizes of the paper's table 1 are {', '.join(VARIANTS)}; a size has no weights.".lstrip()
    published = [model.name for model in CATALOG.values() if model.variant == variant]
    weights = (
        f"published weights: {', '.join(published)}" if published else "there are no published weights of this size"
    )
    return f"{variant} is a size of the paper's table 1, without weights; {weights}."
