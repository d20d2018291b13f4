"""Other token mixing, as exact properties: where a variant must be the plain Mixer, what it mixes, and what it costs."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from allmlp.errors import ConfigError
from allmlp.model import MlpMixer
from allmlp.studies.learning.mixer_variants import MIXER_VARIANTS
from allmlp.studies.learning.networks import make_network, multiply_adds

N, S, C, D_S, D_C = 3, 16, 24, 10, 40
_SIZE = (16, 16)
_WIDTHS = {"patch_size": 4, "num_blocks": N, "hidden_dim": C, "tokens_mlp_dim": D_S, "channels_mlp_dim": D_C}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "mixer_grouped": {"num_grouped": 4},
    "mixer_views": {"num_grouped": 4},
    "mixer_pyramid": {"tokens": [16, 8, 4]},
}


def _network(kind: str, **options: Any) -> Any:
    """Return a network in which no weight is zero."""
    options = options or dict(_OPTIONS.get(kind, {}))
    network = make_network(kind, seed=0, image_size=_SIZE, num_classes=5, widths={**_WIDTHS, **options})
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return network


def _images() -> Tensor:
    return torch.randn(4, 3, *_SIZE, generator=torch.Generator().manual_seed(2))


def _tokens() -> Tensor:
    """Return (B, C, S), as the token mixing of a block takes it."""
    return torch.randn(4, C, S, generator=torch.Generator().manual_seed(3))


def test_untied_mlps_of_equal_weights_are_the_plain_mixer() -> None:
    plain, untied = _network("mixer"), _network("mixer_untied")
    state = untied.state_dict()
    for name, tensor in plain.state_dict().items():
        block, _, layer = name.partition(".token_mixing.fc")
        if layer.endswith("weight"):  # of W1 or W2
            state[f"{block}.token_mixing.weight{layer[0]}"] = tensor.expand(C, *tensor.shape)
        elif layer:
            state[f"{block}.token_mixing.bias{layer[0]}"] = tensor.repeat(C)
        else:
            state[name] = tensor
    untied.load_state_dict(state)
    torch.testing.assert_close(untied(_images()), plain(_images()), rtol=1e-4, atol=1e-4)


def test_an_untied_mlp_mixes_only_its_own_channel() -> None:
    mixing, tokens = _network("mixer_untied").blocks[0].token_mixing, _tokens()
    before = mixing(tokens)
    with torch.no_grad():
        mixing.weight1[7] += 1.0
    changed = (mixing(tokens) != before).any(dim=2).any(dim=0)
    assert changed.nonzero().flatten().tolist() == [7]


@pytest.mark.parametrize("kind", ["mixer_grouped", "mixer_views", "mixer_pyramid"])
def test_one_channel_per_group_and_equally_many_tokens_are_the_plain_mixer(kind: str) -> None:
    options = {"tokens": [S] * N} if kind == "mixer_pyramid" else {"num_grouped": 1}
    plain, variant = _network("mixer"), _network(kind, **options)
    views = {name: torch.eye(C) for name in variant.state_dict() if name.endswith("views.weight")}
    variant.load_state_dict({**plain.state_dict(), **views})
    torch.testing.assert_close(variant(_images()), plain(_images()), rtol=1e-4, atol=1e-5)


def test_neighbouring_channels_are_mixed_together() -> None:
    """Neighbouring columns of the table X (S, C) are concatenated: an (S G) x (C / G) matrix (appendix A.1)."""
    mixing, tokens = _network("mixer_grouped").blocks[0].token_mixing, _tokens()
    mixed = mixing(tokens)
    for group in range(C // 4):
        channels = range(4 * group, 4 * group + 4)
        column = torch.cat([tokens[:, channel] for channel in channels], dim=1)  # (B, 4 S)
        expected = mixing.fc2(nn.functional.gelu(mixing.fc1(column))).reshape(4, 4, S)
        torch.testing.assert_close(mixed[:, list(channels)], expected, rtol=1e-4, atol=1e-5)


def test_views_are_linear_functions_of_the_channels_and_then_grouped() -> None:
    views, grouped = _network("mixer_views").blocks[0].token_mixing, _network("mixer_grouped").blocks[0].token_mixing
    state = views.state_dict()
    grouped.load_state_dict({name: tensor for name, tensor in state.items() if name != "views.weight"})
    tokens = _tokens()
    seen = torch.einsum("oc,bcs->bos", state["views.weight"], tokens)
    torch.testing.assert_close(views(tokens), grouped(seen), rtol=1e-4, atol=1e-5)
    # The four functions from C to C / 4 channels: each of their features is a channel, in groups of one feature of each.
    functions = state["views.weight"].reshape(C // 4, 4, C).transpose(0, 1)  # (G, C / G, C)
    by_view = torch.stack([function @ tokens for function in functions], dim=2)  # (B, C / G, G, S)
    torch.testing.assert_close(by_view.reshape(4, C, S), seen, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "is_linear"), [("mixer_linear", True), ("mixer", False)])
def test_linear_mixing_is_linear_in_the_tokens(kind: str, is_linear: bool) -> None:
    mixing, (x, y) = _network(kind).blocks[0].token_mixing, (_tokens(), _tokens().flip(1))
    zero = mixing(torch.zeros_like(x))
    of_sum = mixing(2 * x - 3 * y) - zero
    sum_of = 2 * (mixing(x) - zero) - 3 * (mixing(y) - zero)
    assert torch.allclose(of_sum, sum_of, rtol=1e-4, atol=1e-4) == is_linear


def test_a_pyramid_has_fewer_tokens_with_depth() -> None:
    network, shapes = _network("mixer_pyramid"), []
    for block in network.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    assert network(_images()).shape == (4, 5)
    assert shapes == [(4, 16, C), (4, 8, C), (4, 4, C)]


@pytest.mark.parametrize("tokens", [[16, 8], [16, 8, 4, 4], [8, 16, 4], [17, 8, 4], [16, 4, 0]])
def test_tokens_that_do_not_fall_are_refused(tokens: list[int]) -> None:
    with pytest.raises(ConfigError, match="expected 3 numbers, one per block, from 16 down to at least 1"):
        _network("mixer_pyramid", tokens=tokens)


@pytest.mark.parametrize("kind", ["mixer_grouped", "mixer_views"])
@pytest.mark.parametrize("num_grouped", [0, 5])
def test_groups_that_do_not_divide_the_channels_are_refused(kind: str, num_grouped: int) -> None:
    with pytest.raises(ConfigError, match=f"num_grouped is {num_grouped}; expected a divisor of hidden_dim 24"):
        _network(kind, num_grouped=num_grouped)


def test_where_the_norms_are() -> None:
    x = _tokens().transpose(1, 2)  # (B, S, C)
    block = _network("mixer_without_token_norm").blocks[0]
    mixed = x + block.token_mixing(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(block(x, None), mixed + block.channel_mixing(block.channel_norm(mixed)))

    block = _network("mixer_norm_after").blocks[0]
    mixed = block.token_norm(x + block.token_mixing(x.transpose(1, 2)).transpose(1, 2))
    expected = block.channel_norm(mixed + block.channel_mixing(mixed))
    torch.testing.assert_close(block(x, None), expected)


def test_every_variant_costs_what_its_description_says() -> None:
    plain = N * 2 * S * D_S * C  # of token mixing
    rest = multiply_adds(_network("mixer"), _SIZE) - plain
    channel_mixing = 2 * C * D_C  # of one token in one block
    expected = {
        "mixer_untied": rest + plain,
        "mixer_grouped": rest + plain,
        "mixer_views": rest + plain + N * S * C * C,
        "mixer_linear": rest + N * S * S * C,
        "mixer_without_token_norm": rest + plain,
        "mixer_norm_after": rest + plain,
        # Tokens 16 -> 16 -> 8 -> 4; the second and third block mix the channels of 8 and 4 tokens.
        "mixer_pyramid": rest - channel_mixing * (8 + 12) + ((16 + 16) + (16 + 8) + (8 + 4)) * D_S * C,
    }
    assert {kind: multiply_adds(_network(kind), _SIZE) for kind in MIXER_VARIANTS} == expected


def test_untying_multiplies_the_parameters_of_token_mixing() -> None:
    def count(network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    tied = N * (2 * S * D_S + D_S + S)
    assert count(_network("mixer_untied")) == count(_network("mixer")) + (C - 1) * tied


@pytest.mark.parametrize("kind", MIXER_VARIANTS)
def test_all_weights_learn_and_start_like_the_plain_mixers(kind: str) -> None:
    network = _network(kind)
    network(_images()).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())

    new = make_network(kind, seed=0, image_size=(64, 64), num_classes=5, widths={**_WIDTHS, **_large(kind)})
    assert isinstance(new, MlpMixer)
    for name, parameter in new.named_parameters():
        if ".token_mixing." in name and parameter.ndim > 1:
            fan_in = parameter.shape[-1]
            assert parameter.std().item() == pytest.approx(fan_in**-0.5, rel=0.1), name
        elif ".token_mixing." in name:
            assert not parameter.any(), name


def _large(kind: str) -> Mapping[str, Any]:
    """Return options for 256 tokens, so that the spread of the weights can be measured."""
    return {"tokens": [256, 128, 64]} if kind == "mixer_pyramid" else _OPTIONS.get(kind, {})
