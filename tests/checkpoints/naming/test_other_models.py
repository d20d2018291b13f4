"""Other models are recognised by their names: timm's own, and those of other libraries."""

import time
from pathlib import Path

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from timm.layers import GluMlp
from timm.models.mlp_mixer import MlpMixer as TimmMixer

from allmlp import CheckpointError, load_checkpoint
from allmlp.checkpoints.naming.other_models import describe_unknown_weights

STRANGERS = {
    "swin_tiny_patch4_window7_224": "a Swin Transformer",
    "swinv2_tiny_window8_256": "a Swin Transformer",
    "beit_base_patch16_224": "a Vision Transformer",
    "convmixer_768_32": "a ConvMixer",
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


@pytest.mark.parametrize("options", [{}, {"num_classes": 0}, {"embed_dim": 48, "num_blocks": 3}])
def test_a_gmixer_whose_names_are_a_mixers_is_known_by_its_gates(options: dict[str, int], tmp_path: Path) -> None:
    shape = {"img_size": 32, "patch_size": 8, "num_blocks": 2, "embed_dim": 24, "mlp_ratio": (1.0, 4.0)}
    model = TimmMixer(**{**shape, **options}, mlp_layer=GluMlp)  # as timm's gmixer_12_224
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"(?s)do not fit this Mixer.*It looks like a gMixer"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_transformers_own_models_are_known() -> None:
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    two = {"vision_config": vision, "text_config": vision | {"max_position_embeddings": 16}}
    with torch.device("meta"):
        models = {
            "an OWL-ViT": transformers.OwlViTModel(transformers.OwlViTConfig(**two)),
            "a CLIP-like model": transformers.CLIPModel(transformers.CLIPConfig(**two)),
            "a Swin": transformers.SwinModel(transformers.SwinConfig(depths=[1], num_heads=[1], embed_dim=8)),
            "a language model": transformers.BertModel(transformers.BertConfig(num_hidden_layers=1)),
        }
    for what, model in models.items():
        assert f"It looks like {what}" in describe_unknown_weights(model.state_dict())


def test_a_hundred_thousand_names_take_no_time() -> None:
    names = [f"layers.{index}.attention.of.nothing.known.weight" for index in range(100_000)]
    start = time.process_time()
    assert "99,995 more" in describe_unknown_weights(names)
    assert time.process_time() - start < 5


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
