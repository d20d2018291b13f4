"""The networks of the studies against published counts and timm's own models."""

import pytest
import torch

from allmlp.errors import ConfigError
from allmlp.model import MixerConfig, cost
from allmlp.studies.learning.networks import make_network, multiply_adds

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
