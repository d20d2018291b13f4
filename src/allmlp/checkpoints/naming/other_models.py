"""Recognition of other models by the names of their weights."""

import re
from collections.abc import Iterable

from allmlp.io.display import summarise

__all__ = ["describe_unknown_weights", "grey_advice"]

# Patterns for the names of timm, transformers, torchvision and the released .npz files, one name per line, and the model
# that has such names. The first pattern that occurs decides.
_SIGNS = tuple(
    (re.compile(pattern, re.MULTILINE), model)
    for pattern, model in (
        (r"lora_[AB]", "a LoRA adapter, not a whole model"),
        (r"exp_avg|^optimizer|momentum_buffer", "an optimizer's state, not a model"),
        (r"owlvit|owlv2|vision_model\.pre_layernorm|obj_box_head", "an OWL-ViT (object detection)"),
        (
            r"(layers\.\d+\.blocks|features\.\d+)\.\d+\.(attn|attention)(\.\w+)?\.(relative_position_bias_table|cpb_mlp)"
            r"|attn\.meta_mlp\.",
            "a Swin Transformer",
        ),
        (r"(^|[./])linear_tokens\.", "a ResMLP"),
        (r"mlp_channels\.gate\.|spatial_gating|sgu\.", "a gMLP"),
        (r"(^|\.)token_mix\.layers\.", "a Mixer with mmpretrain's names, which allmlp does not read"),
        (r"\.fn\.\d+\.running_mean$", "a ConvMixer"),
        (
            r"^\d+\.\d+\.fn\.|^layers?\.\d+\.\d+\.fn\.",
            "a Mixer of lucidrains/mlp-mixer-pytorch, which allmlp does not read",
        ),
        (r"vision_model\.|(^|\.)visual\.|text_model\.|^logit_scale$", "a CLIP-like model of images and text"),
        (r"Transformer/encoderblock_|posembed_input", "a Vision Transformer of the authors' code"),
        (r"word_embeddings", "a language model"),
        (r"cls_token|pos_embed|position_embeddings|attention\.attention", "a Vision Transformer"),
        (r"self_attn|lm_head|embed_tokens|\.attn\.c_attn", "a language model"),
        (r"\.attn\.qkv\.", "a Vision Transformer"),
        (
            r"downsample_layers\.|stages\.\d+\.(layers\.)?\d+\.dwconv\.|stages\.\d+\.blocks\.\d+\.(conv_dw|gamma)"
            r"|features\.\d+\.\d+\.layer_scale",
            "a ConvNeXt",
        ),
        (
            r"conv_dw|conv_stem|conv_pwl|features\.\d+(\.\d+)?\.(block|conv)\.|depthwise_conv\.|expand_1x1",
            "an EfficientNet or MobileNet",
        ),
        (r"layer\d\.\d+\.(conv|bn)\d|root_block/|stages\.\d+\.layers\.\d+\.layer\.\d+\.convolution", "a ResNet"),
        (r"^features\.\d+\.(weight|bias)$", "a VGG or AlexNet"),
    )
)

_NUM_SHOWN = 5
_MAX_LENGTH = 500  # of a name; of a longer one, only the start is examined


def describe_unknown_weights(names: Iterable[str]) -> str:
    """Return a sentence that names the model with these weights or, if it is unknown, some of the names."""
    names = sorted(names)
    if not names:
        return "The file holds no weights."
    text = "\n".join(name[:_MAX_LENGTH] for name in names)
    for pattern, model in _SIGNS:
        if pattern.search(text):
            return f"It looks like {model}."
    shown = summarise((name[:60] for name in names), limit=_NUM_SHOWN)
    return f"Its weights are called {shown}; allmlp reads the Mixers of Google, timm and allmlp."


def grey_advice(name: str, *, axis: int) -> str:
    """Return what to do with a Mixer for grey photos; `name` are the weights of its patches, whose `axis` has the length 1."""
    return (
        "These weights are for grey photos (one channel), and allmlp reads every photo as RGB. To use them, repeat "
        f"{name} three times along axis {axis} and divide it by 3; give all three colours the same mean and std."
    )
