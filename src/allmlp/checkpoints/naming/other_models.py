"""Recognition of other models by the names of their weights."""

import re
from collections.abc import Iterable

from allmlp.io.display import summarise

__all__ = ["describe_unknown_weights"]

# Patterns for the names of timm, transformers, torchvision and the released .npz files, and the model that has such names.
# The first pattern that matches any name decides.
_SIGNS: tuple[tuple[str, str], ...] = (
    (r"owlvit|owlv2", "an OWL-ViT (object detection)"),
    (r"relative_position_bias_table", "a Swin Transformer"),
    (r"(^|[./])linear_tokens\.", "a ResMLP"),
    (r"mlp_channels\.gate\.|spatial_gating|sgu\.", "a gMLP"),
    (r"(^|\.)token_mix\.layers\.", "a Mixer with mmpretrain's names, which allmlp does not read"),
    (
        r"^\d+\.\d+\.fn\.|^layers?\.\d+\.\d+\.fn\.",
        "a Mixer of lucidrains/mlp-mixer-pytorch, which allmlp does not read",
    ),
    (r"vision_model\.|visual\.|text_model\.|logit_scale$", "a CLIP-like model of images and text"),
    (r"Transformer/encoderblock_|posembed_input", "a Vision Transformer of the authors' code"),
    (r"cls_token|pos_embed|position_embeddings|\.attn\.qkv\.|attention\.attention", "a Vision Transformer"),
    (r"self_attn|lm_head|embed_tokens|\.attn\.c_attn|word_embeddings", "a language model"),
    (r"downsample_layers\.|dwconv\.|stages\.\d+\.blocks\.\d+\.(conv_dw|gamma)", "a ConvNeXt"),
    (r"conv_dw|conv_stem|conv_pwl|block\.0\.0\.weight", "an EfficientNet or MobileNet"),
    (r"layer\d\.\d+\.conv\d|root_block/|layer\d\.\d+\.bn\d", "a ResNet"),
    (r"^features\.\d+\.(weight|bias)$", "a VGG or AlexNet"),
    (r"lora_[AB]", "a LoRA adapter, not a whole model"),
    (r"exp_avg|optimizer|momentum_buffer", "an optimizer's state, not a model"),
)

_NUM_SHOWN = 5


def describe_unknown_weights(names: Iterable[str]) -> str:
    """Return a sentence that names the model with these weights or, if it is unknown, some of the names."""
    names = sorted(names)
    if not names:
        return "The file holds no weights."
    for pattern, model in _SIGNS:
        if any(re.search(pattern, name[:500]) for name in names):
            return f"It looks like {model}."
    shown = summarise((name[:60] for name in names), limit=_NUM_SHOWN)
    return f"Its weights are called {shown}; allmlp reads the Mixers of Google, timm and allmlp."
