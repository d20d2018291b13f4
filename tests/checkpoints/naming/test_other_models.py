"""Other models are recognised by their names: timm's own, and those of other libraries."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from allmlp import CheckpointError, load_checkpoint

STRANGERS = {
    "swin_tiny_patch4_window7_224": "a Swin Transformer",
    "vit_tiny_patch16_224": "a Vision Transformer",
    "resmlp_12_224": "a ResMLP",
    "gmlp_ti16_224": "a gMLP",
    "resnet18": "a ResNet",
    "convnext_atto": "a ConvNeXt",
    "mobilenetv3_small_050": "an EfficientNet or MobileNet",
}


@pytest.mark.parametrize("architecture", STRANGERS)
def test_another_network_of_timm_is_refused_with_what_it_looks_like(architecture: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        names = list(timm.create_model(architecture, pretrained=False).state_dict())
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "x.safetensors")
    with pytest.raises(
        CheckpointError, match=rf"x\.safetensors: this is not an MLP-Mixer\. It looks like {STRANGERS[architecture]}"
    ):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["owlvit.vision_model.encoder.layers.0.self_attn.k_proj.weight"], "an OWL-ViT"),
        (["vision_model.embeddings.class_embedding", "text_model.embeddings.token_embedding.weight"], "a CLIP-like"),
        (["Transformer/encoderblock_0/LayerNorm_0/scale", "cls"], "a Vision Transformer of the authors' code"),
        (["model.layers.0.self_attn.q_proj.weight", "lm_head.weight"], "a language model"),
        (["conv.weight", "fc.weight"], r"Its weights are called conv\.weight, fc\.weight"),
    ],
)
def test_strangers_are_known_by_their_names(names: list[str], what: str, tmp_path: Path) -> None:
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=rf"this is not an MLP-Mixer\..*{what}"):
        load_checkpoint(tmp_path / "x.safetensors")
