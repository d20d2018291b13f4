"""The optimizers with decoupled weight decay, against torch's own and against arithmetic."""

import contextlib
import math

import pytest
import torch
from tests.builders import tiny_config
from tests.reference.muon_float64 import in_float64
from torch import nn

from allmlp.hardware.devices import has_native_bfloat16
from allmlp.model import MlpMixer
from allmlp.training import OptimizerConfig
from allmlp.training.step.optimizer import Optimizer

TINY = tiny_config(image_size=(8, 8), patch_size=4, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7)


def gradients(model, value=0.01):
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, value)


@pytest.mark.parametrize(
    ("config", "rate"),
    [
        (OptimizerConfig(name="adamw", learning_rate=0.1, weight_decay=0.5, clip_norm=None), 0.1),
        (OptimizerConfig(name="sgd", learning_rate=0.1, weight_decay=0.5, momentum=0.9, clip_norm=None), 0.1),
    ],
)
def test_weight_decay_is_decoupled_and_on_matrices_only(config, rate):
    decayed, plain = MlpMixer(TINY), MlpMixer(TINY)
    plain.load_state_dict(decayed.state_dict())
    before = {name: value.clone() for name, value in decayed.state_dict().items()}
    no_decay = OptimizerConfig(
        name=config.name, learning_rate=rate, weight_decay=0.0, momentum=config.momentum, clip_norm=None
    )
    for model, chosen in ((decayed, config), (plain, no_decay)):
        optimizer = Optimizer(model, chosen)
        gradients(model)
        optimizer.step(optimizer.gradient_norm(), 0.5)
    for name, value in decayed.state_dict().items():
        difference = plain.state_dict()[name] - value
        wanted = before[name] * (0.5 * rate * 0.5) if value.ndim >= 2 else torch.zeros_like(value)
        assert torch.allclose(difference, wanted, atol=1e-6), name


def torchs_adamw(parameters, *, rate, betas):
    """torch's own, with a decay of 0.3 on matrices only."""
    groups = [
        {"params": [value for value in parameters if value.ndim >= 2], "weight_decay": 0.3},
        {"params": [value for value in parameters if value.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=betas)


def step_beside(ours, model, copies, theirs):
    """Take three steps at different factors of the rates with the same gradients; `theirs` has the peak rates."""
    for factor in (0.2, 1.0, 0.5):
        for name, value in model.named_parameters():
            value.grad = torch.randn_like(value)
            copies[name].grad = value.grad.clone()
        ours.step(ours.gradient_norm(), factor)
        for optimizer, rate in theirs.items():
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()


def test_adamw_with_weight_decay_times_the_rate_is_torchs():
    """The convention: a step takes rate × weight decay of a weight away, as torch.optim.AdamW does, and the paper's table 4."""
    torch.manual_seed(0)
    model = MlpMixer(TINY)
    copies = {name: nn.Parameter(value.detach().clone()) for name, value in model.named_parameters()}
    config = OptimizerConfig(name="adamw", learning_rate=0.01, weight_decay=0.3, betas=(0.8, 0.95), clip_norm=None)
    ours = Optimizer(model, config)
    step_beside(ours, model, copies, {torchs_adamw(copies.values(), rate=0.01, betas=(0.8, 0.95)): 0.01})
    for name, value in model.named_parameters():
        assert torch.allclose(value, copies[name], rtol=1e-6, atol=1e-7), name  # fused and not: other roundings


def test_sgd_decays_apart_from_momentum_and_times_the_rate():
    """By hand: v = momentum v + g; w = (1 - rate × weight decay) w - rate v. torch's own SGD would put the decay into g."""
    torch.manual_seed(0)
    model = MlpMixer(TINY)
    weight = next(value for value in model.parameters() if value.ndim == 2)
    by_hand, velocity = weight.detach().double().clone(), torch.zeros_like(weight, dtype=torch.float64)
    optimizer = Optimizer(
        model, OptimizerConfig(name="sgd", learning_rate=0.1, weight_decay=0.3, momentum=0.9, clip_norm=None)
    )
    for factor in (0.2, 1.0, 0.5):
        for value in model.parameters():
            value.grad = torch.randn_like(value)
        velocity = 0.9 * velocity + weight.grad.double()
        by_hand = (1 - 0.1 * factor * 0.3) * by_hand - 0.1 * factor * velocity
        optimizer.step(optimizer.gradient_norm(), factor)
    assert torch.allclose(weight.double(), by_hand, rtol=1e-5, atol=1e-6)


def test_muon_moves_the_matrices_of_the_blocks_by_orthogonal_steps_and_adamw_the_rest():
    model = MlpMixer(TINY)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = OptimizerConfig(
        name="muon", learning_rate=0.5, adamw_learning_rate=0.25, weight_decay=0.0, momentum=0.9, clip_norm=None
    )
    optimizer = Optimizer(model, config)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step(optimizer.gradient_norm(), 1.0)
    for name, value in model.state_dict().items():
        step = before[name] - value
        if name.startswith("blocks.") and value.ndim == 2:
            # Newton–Schulz leaves singular values near 1 (0.7 to 1.2), times the rate and sqrt(max(1, rows / columns)).
            scale = 0.5 * max(1.0, value.shape[0] / value.shape[1]) ** 0.5
            singular = torch.linalg.svdvals(step) / scale
            assert singular.max() < 1.3 and singular.min() > 0.3, name
        else:
            assert torch.allclose(step.abs(), torch.full_like(step, 0.25), atol=1e-3), name  # Adam's first step


def test_muon_and_its_adamw_step_as_torchs_with_these_settings():
    """None of the values is torch's default, so that one which does not arrive shows."""
    torch.manual_seed(0)
    model = MlpMixer(TINY)
    copies = {name: nn.Parameter(value.detach().clone()) for name, value in model.named_parameters()}
    config = OptimizerConfig(
        name="muon",
        learning_rate=0.05,
        adamw_learning_rate=0.003,
        weight_decay=0.3,
        momentum=0.8,
        betas=(0.7, 0.9),
        clip_norm=None,
    )
    ours = Optimizer(model, config)
    inner = {name for name, value in copies.items() if name.startswith("blocks.") and value.ndim == 2}
    assert len(inner) == 4 * TINY.num_blocks
    muon = torch.optim.Muon([copies[name] for name in inner], lr=0.05, momentum=0.8, weight_decay=0.3)
    outer = [value for name, value in copies.items() if name not in inner]
    # Where bfloat16 is native, ours is torch's own; elsewhere it is as exact as float32.
    with contextlib.nullcontext() if has_native_bfloat16("cpu") else in_float64():
        step_beside(ours, model, copies, {muon: 0.05, torchs_adamw(outer, rate=0.003, betas=(0.7, 0.9)): 0.003})
    for name, value in model.named_parameters():
        assert torch.allclose(value, copies[name], rtol=1e-5, atol=1e-6), name


def test_gradients_are_clipped_at_the_global_norm():
    model = MlpMixer(TINY)
    config = OptimizerConfig(name="sgd", learning_rate=1.0, weight_decay=0.0, momentum=0.0, clip_norm=1.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = Optimizer(model, config)
    gradients(model, 10.0)
    norm = optimizer.gradient_norm()
    optimizer.step(norm, 1.0)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert norm == pytest.approx(10.0 * math.sqrt(count), rel=1e-5)
    moved = sum(float(((one - two.detach()) ** 2).sum()) for one, two in zip(before, model.parameters(), strict=True))
    assert moved == pytest.approx(1.0, rel=1e-4)
