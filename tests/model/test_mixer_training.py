"""What differs between training and evaluation: the start, stochastic depth, dropout, checkpointing, compilation."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.builders import tiny_config
from torch import Tensor

from allmlp import MlpMixer, create
from allmlp.model.mixer import MixerBlock


@pytest.fixture(autouse=True)
def fixed_seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def small_mixer(*, num_blocks: int = 3, stochastic_depth: float = 0.0, dropout: float = 0.0) -> MlpMixer:
    config = tiny_config(
        patch_size=4,
        num_blocks=num_blocks,
        hidden_dim=24,
        tokens_mlp_dim=12,
        channels_mlp_dim=40,
        num_classes=5,
        stochastic_depth=stochastic_depth,
        dropout=dropout,
    )
    model = MlpMixer(config)
    assert model.head is not None
    torch.nn.init.normal_(model.head.weight)  # zero, it would pass no gradient
    return model


def branches(block: MixerBlock, x: Tensor, keep: Tensor) -> Tensor:
    """One block with each image's two branches kept (1) or dropped (0): keep (B, 2)."""
    x = x + keep[:, 0, None, None] * block.token_mixing(block.token_norm(x).transpose(1, 2)).transpose(1, 2)
    return x + keep[:, 1, None, None] * block.channel_mixing(block.channel_norm(x))


def test_weights_start_lecun_normal() -> None:
    model = create("S/32", num_blocks=2)
    matrices = {name: p.detach() for name, p in model.named_parameters() if p.ndim > 1 and name != "head.weight"}
    assert len(matrices) == 1 + 4 * 2
    for weight in matrices.values():
        fan_in, count = weight[0].numel(), weight.numel()
        uncut_std = 1 / math.sqrt(fan_in) / 0.8796
        # Five standard errors: no matrix of the nine should miss by chance.
        assert weight.std().item() == pytest.approx(1 / math.sqrt(fan_in), rel=5 / math.sqrt(2 * count))
        assert abs(weight.mean().item()) < 5 / math.sqrt(fan_in * count)
        assert 1.9 * uncut_std < weight.abs().max().item() <= 2.001 * uncut_std
        within_one = math.erf(1 / math.sqrt(2)) / math.erf(2 / math.sqrt(2))  # of a normal cut at two
        observed = (weight.abs() < uncut_std).float().mean().item()
        assert observed == pytest.approx(within_one, abs=5 * math.sqrt(0.25 / count))


def test_biases_and_the_head_start_at_zero_and_norms_at_one() -> None:
    for name, parameter in create("S/32", num_blocks=2, hidden_dim=16).named_parameters():
        if parameter.ndim == 1 or name == "head.weight":
            start = 1.0 if name.endswith("norm.weight") else 0.0
            assert torch.equal(parameter, torch.full_like(parameter, start)), name


def test_the_start_is_a_function_of_the_seed() -> None:
    starts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        starts.append(create("S/32", image_size=32, num_blocks=1, hidden_dim=16).state_dict())
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    assert not torch.equal(starts[0]["patch_projection.weight"], starts[2]["patch_projection.weight"])


@pytest.mark.parametrize("num_blocks", [1, 2, 5])
def test_drop_probability_rises_linearly_from_0_to_s(num_blocks: int) -> None:
    model = small_mixer(num_blocks=num_blocks, stochastic_depth=0.4)
    rates = [block.drop_probability for block in model.blocks]
    np.testing.assert_allclose(rates, np.linspace(0, 0.4, num_blocks), rtol=1e-12)


def test_draws_decide_which_branches_drop_and_survivors_are_not_rescaled() -> None:
    model = small_mixer(stochastic_depth=0.5).train()  # rates 0, 0.25, 0.5
    images = torch.randn(6, 3, 16, 16)
    draws = torch.rand(6, 6)
    draws[0] = torch.tensor([0.0, 0.0, 0.25, 0.24, 0.5, 0.49])  # at the rate a branch stays, under it it goes
    keep = draws.reshape(6, 3, 2) >= torch.tensor([0.0, 0.25, 0.5])[:, None]
    assert keep[0].flatten().tolist() == [True, True, True, False, True, False]

    x = model.patch_projection(images)
    for index, block in enumerate(model.blocks):
        x = branches(block, x, keep[:, index].float())
    expected = model.pre_head_norm(x).mean(dim=1)
    assert torch.equal(model.features(images, depth_draws=draws), expected)
    assert torch.equal(model(images, depth_draws=draws), model.head(expected))


def test_where_everything_drops_the_stream_passes_unchanged() -> None:
    model = small_mixer(stochastic_depth=0.5).train()
    images = torch.randn(4, 3, 16, 16)
    # The first block's rate is 0, so that it always stays.
    first = model.blocks[0](model.patch_projection(images), None)
    expected = model.pre_head_norm(first).mean(dim=1)
    assert torch.equal(model.features(images, depth_draws=torch.zeros(4, 6)), expected)


def test_without_draws_torchs_generator_decides() -> None:
    model = small_mixer(stochastic_depth=0.5).train()
    images = torch.randn(4, 3, 16, 16)
    torch.manual_seed(7)
    drawn = model(images)
    torch.manual_seed(7)
    assert torch.equal(drawn, model(images, depth_draws=torch.rand(4, 6)))
    assert not torch.equal(drawn, model(images))


def test_evaluation_drops_nothing() -> None:
    model, plain = small_mixer(stochastic_depth=0.5, dropout=0.5).eval(), small_mixer().eval()
    plain.load_state_dict(model.state_dict())
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(model(images), plain(images))
    assert torch.equal(model(images, depth_draws=torch.zeros(4, 6)), plain(images))


def test_dropout_follows_the_gelu_and_the_second_layer() -> None:
    model = small_mixer(num_blocks=1, dropout=0.3).train()
    images = torch.randn(2, 3, 16, 16)
    torch.manual_seed(3)
    ours = model.features(images)

    torch.manual_seed(3)
    x = model.patch_projection(images)
    block = model.blocks[0]
    for norm, mlp, axes in (
        (block.token_norm, block.token_mixing, (1, 2)),
        (block.channel_norm, block.channel_mixing, ()),
    ):
        y = norm(x).transpose(*axes) if axes else norm(x)
        y = F.dropout(F.gelu(mlp.fc1(y), approximate="tanh"), 0.3)
        y = F.dropout(mlp.fc2(y), 0.3)
        x = x + (y.transpose(*axes) if axes else y)
    assert torch.equal(ours, model.pre_head_norm(x).mean(dim=1))


def test_activation_checkpointing_gives_the_same_gradients() -> None:
    model = small_mixer(stochastic_depth=0.3, dropout=0.2).train()
    images, draws = torch.randn(4, 3, 16, 16), torch.rand(4, 6)
    gradients = []
    for checkpointing in (False, True):
        model.activation_checkpointing = checkpointing
        model.zero_grad()
        torch.manual_seed(5)  # dropout's
        model(images, depth_draws=draws).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(list(model.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_activation_checkpointing_keeps_fewer_activations() -> None:
    model = small_mixer(num_blocks=8).train()
    images = torch.randn(4, 3, 16, 16)
    kept = []
    for checkpointing in (False, True):
        model.activation_checkpointing = checkpointing
        sizes: list[int] = []

        def count(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            model(images)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 4


# Evaluation does not look at activation_checkpointing.
@pytest.mark.parametrize(("training", "checkpointing"), [(True, False), (True, True), (False, True)])
def test_compiles_without_a_graph_break(training: bool, checkpointing: bool) -> None:
    torch._dynamo.reset()
    model = small_mixer(num_blocks=2, stochastic_depth=0.3).train(training)
    model.activation_checkpointing = checkpointing
    images, draws = torch.randn(4, 3, 16, 16), torch.rand(4, 6)
    compiled = torch.compile(model, fullgraph=True, backend="eager")  # fullgraph raises at a break
    torch.testing.assert_close(compiled(images, depth_draws=draws), model(images, depth_draws=draws))
    if training:
        assert compiled(images).isfinite().all()  # drawing inside
        compiled(images, depth_draws=draws).sum().backward()
