"""The networks of the studies against published counts and timm's own models."""

from typing import Any

import pytest
import torch

from allmlp.errors import ConfigError
from allmlp.model import MixerConfig, cost
from allmlp.studies.learning.networks import features, make_network, multiply_adds, with_classifier

_MIXER = {"patch_size": 4, "num_blocks": 3, "hidden_dim": 24, "tokens_mlp_dim": 12, "channels_mlp_dim": 40}


def test_a_mixer_costs_what_its_own_count_says() -> None:
    config = MixerConfig(image_size=(32, 32), num_classes=10, **_MIXER)
    network = make_network("mixer", seed=0, image_size=(32, 32), num_classes=10, widths=_MIXER)
    assert multiply_adds(network, (32, 32)) == sum(part.multiply_adds for part in cost(config))


def test_the_resnet_for_cifar_is_that_of_the_paper() -> None:
    """ResNet-20: 0.27 M parameters (He et al. 2015, table 6) and 41 million multiply-adds.

    Its shortcuts have no parameters; timm's are 1 x 1 convolutions, which add 2,752 with their batch norms.
    """
    network = make_network(
        "resnet", seed=0, image_size=(32, 32), num_classes=10, widths={"layers": [3, 3, 3], "widths": [16, 32, 64]}
    )
    shortcuts = 16 * 32 + 32 * 64 + 2 * (32 + 64)
    assert sum(parameter.numel() for parameter in network.parameters()) == 269_722 + shortcuts
    assert multiply_adds(network, (32, 32)) == pytest.approx(41e6, rel=0.02)


def test_the_vision_transformer_is_timms() -> None:
    timm = pytest.importorskip("timm")
    widths = {"patch_size": 16, "hidden_dim": 384, "num_blocks": 12, "num_heads": 6}
    network = make_network("vit", seed=0, image_size=(224, 224), num_classes=1000, widths=widths)
    theirs = timm.create_model("vit_small_patch16_224", class_token=False, global_pool="avg")
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("kind", ["mixer", "resnet"])
def test_weights_follow_from_the_seed_and_leave_the_users_generator_alone(kind: str) -> None:
    widths = _MIXER if kind == "mixer" else {"layers": [1, 1], "widths": [8, 16]}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    same, again, other = (
        make_network(kind, seed=seed, image_size=(16, 16), num_classes=3, widths=widths).state_dict()
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert any(not torch.equal(same[name], other[name]) for name in same)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown network 'mixr'.*Did you mean.*mixer"):
        make_network("mixr", seed=0, image_size=(16, 16), num_classes=2, widths={})


_SMALL_VIT = {"patch_size": 4, "hidden_dim": 32, "num_blocks": 3, "num_heads": 2}


def test_attention_is_counted() -> None:
    network = make_network("vit", seed=0, image_size=(16, 24), num_classes=5, widths=_SMALL_VIT)
    S, C = 24, 32
    # Q, K, V, output and the MLP of four times the width; then Q K^T and its product with V.
    blocks = 3 * (12 * C * C * S + 2 * S * S * C)
    assert multiply_adds(network, (16, 24)) == S * 48 * C + blocks + C * 5


def test_a_network_is_counted_without_its_weights() -> None:
    widths = {"name": "vit_small_patch16_224"}
    with torch.device("meta"):
        network = make_network("published", seed=0, image_size=(224, 224), num_classes=1000, widths=widths)
        # Touvron et al. 2021 (DeiT), table 5: 22 M parameters; 4.6 billion multiply-adds.
        assert multiply_adds(network, (224, 224)) == pytest.approx(4.6e9, rel=0.01)
    assert all(parameter.is_meta for parameter in network.parameters())


@pytest.mark.parametrize(
    ("kind", "widths", "classifier"),
    [
        ("mixer", _MIXER, "head"),
        ("vit", _SMALL_VIT, "head"),
        ("resnet", {"layers": [1, 1], "widths": [8, 16]}, "7"),
        ("published", {"name": "resnet18"}, "fc"),
    ],
)
def test_features_are_what_the_classifier_sees(kind: str, widths: dict[str, Any], classifier: str) -> None:
    image_size = (224, 224) if kind == "published" else (16, 16)
    network = make_network(kind, seed=0, image_size=image_size, num_classes=3, widths=widths).eval()
    head = network.get_submodule(classifier)
    assert isinstance(head, torch.nn.Linear)
    torch.nn.init.normal_(head.weight)
    images = torch.randn(2, 3, *image_size)
    found = features(network)(images)
    assert found.shape == (2, head.in_features)
    assert torch.allclose(head(found), network(images), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "widths"), [("mixer", _MIXER), ("vit", _SMALL_VIT), ("resnet", {"layers": [1, 1], "widths": [8, 16]})]
)
def test_a_new_classifier_leaves_the_features_and_the_first_network(kind: str, widths: dict[str, Any]) -> None:
    network = make_network(kind, seed=0, image_size=(16, 16), num_classes=3, widths=widths).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = torch.randn(2, 3, 16, 16)
    drawn = torch.get_rng_state()
    changed = with_classifier(network, 5)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(changed(images), torch.zeros(2, 5))
    assert torch.equal(features(changed)(images), features(network)(images))
    for parameter in changed.parameters():
        torch.nn.init.ones_(parameter)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
    assert network(images).shape == (2, 3)
