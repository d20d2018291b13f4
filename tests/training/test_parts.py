"""Schedule, loss and optimizer against torch's own and against arithmetic."""

import contextlib
import dataclasses
import math

import numpy as np
import pytest
import torch
from tests.reference.muon_float64 import in_float64
from torch import nn

from allmlp.data import Augmentation
from allmlp.errors import ConfigError
from allmlp.hardware.devices import has_native_bfloat16
from allmlp.model import MixerConfig, MlpMixer
from allmlp.training import OptimizerConfig, Recipe, ScheduleConfig
from allmlp.training.recipe.resolve import with_learning_rate
from allmlp.training.step.batch import TrainingBatch
from allmlp.training.step.loss import classification_loss
from allmlp.training.step.optimizer import Optimizer
from allmlp.training.step.schedule import learning_rate_factor
from allmlp.training.step.state import TrainState
from allmlp.training.step.update import update

TINY = MixerConfig(
    image_size=(8, 8),
    patch_size=4,
    num_blocks=2,
    hidden_dim=6,
    tokens_mlp_dim=5,
    channels_mlp_dim=7,
    num_classes=3,
)


def tiny_recipe(**settings):
    return Recipe(name="tiny", model=TINY, num_epochs=1, batch_size=4, **settings)


def test_cosine_decay_equals_torch_after_the_warm_up():
    schedule = ScheduleConfig(warmup=0.1, final_fraction=0.0)
    factors = [learning_rate_factor(schedule, step=step, num_steps=100) for step in range(100)]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
    for factor in factors[10:]:
        assert factor == pytest.approx(reference.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        reference.step()
    assert factors[:10] == pytest.approx([0.1 * step for step in range(1, 11)])


def test_linear_decay_ends_at_the_final_fraction():
    schedule = ScheduleConfig(warmup=0.0, decay="linear", final_fraction=0.1)
    factors = [learning_rate_factor(schedule, step=step, num_steps=11) for step in range(12)]
    assert np.allclose(np.diff(factors), -0.9 / 11)
    assert factors[0] == 1.0
    assert factors[11] == pytest.approx(0.1)


def authors_factor(step, *, total_steps, warmup_steps, decay_type, linear_end=0.0):
    """The learning rate of the authors' code for a base of 1 (big_vision/utils.py, create_learning_rate_schedule)."""
    progress = min(max((step - warmup_steps) / (total_steps - warmup_steps), 0.0), 1.0)
    if decay_type == "linear":
        factor = linear_end + (1.0 - linear_end) * (1.0 - progress)
    else:
        factor = 0.5 * (1.0 + math.cos(math.pi * progress))
    return factor * min(1.0, step / warmup_steps)


@pytest.mark.parametrize(
    ("decay", "num_steps", "warmup_steps", "final"),
    [("linear", 93_834, 10_000, 1e-5), ("linear", 12_000, 10_000, 0.0), ("cosine", 10_000, 500, 0.0)],
)
def test_warm_up_in_steps_and_decay_are_the_authors(decay, num_steps, warmup_steps, final):
    schedule = ScheduleConfig(warmup_steps=warmup_steps, decay=decay, final_fraction=final)
    options = {"total_steps": num_steps, "warmup_steps": warmup_steps, "decay_type": decay, "linear_end": final}
    for step in {*range(0, num_steps, 97), warmup_steps - 1, warmup_steps, num_steps - 1}:
        factor = learning_rate_factor(schedule, step=step, num_steps=num_steps)
        if step < warmup_steps:
            # One step ahead, so that the first step is not one of rate 0.
            assert factor == pytest.approx((step + 1) / warmup_steps, rel=1e-12)
            assert factor - authors_factor(step, **options) == pytest.approx(1 / warmup_steps, rel=1e-9)
        else:
            assert factor == pytest.approx(authors_factor(step, **options), rel=1e-12)


def test_softmax_loss_of_hard_labels_is_torchs_cross_entropy():
    logits, classes = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    rows = nn.functional.one_hot(classes, 4).float()
    assert torch.isclose(classification_loss(logits, rows, "softmax"), nn.functional.cross_entropy(logits, classes))


def test_sigmoid_loss_sums_over_classes_and_means_over_the_batch():
    logits, rows = torch.tensor([[1.0, -2.0], [0.5, 0.0]]), torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    by_hand = 0.0
    for row, target in zip(logits.tolist(), rows.tolist(), strict=True):
        for x, y in zip(row, target, strict=True):
            p = 1 / (1 + math.exp(-x))
            by_hand -= y * math.log(p) + (1 - y) * math.log(1 - p)
    assert float(classification_loss(logits, rows, "sigmoid")) == pytest.approx(by_hand / 2, rel=1e-6)


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


def test_the_average_of_the_weights_is_torchs_with_a_decay_that_grows():
    """As torch.optim.swa_utils averages, at the decay that TensorFlow's moving average has early on."""
    state = TrainState(tiny_recipe(optimizer=OptimizerConfig(learning_rate=0.1), ema_decay=0.5))
    average = [value.detach().clone() for value in state.model.parameters()]
    torch.manual_seed(1)
    for step in range(1, 13):
        for value in state.model.parameters():
            value.grad = torch.randn_like(value)
        state.step_optimizer(1.0, 1.0)
        decay = min(0.5, (1 + step) / (10 + step))
        torch.optim.swa_utils.get_ema_multi_avg_fn(decay)(average, list(state.model.parameters()), step)
        for ours, theirs in zip(state.average, average, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7), step
    weights = [value.detach() for value in state.model.parameters()]
    moved = [float((ours - value).abs().max()) for ours, value in zip(average, weights, strict=True)]
    assert min(moved) > 1e-3  # the average is not the weights


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_another_learning_rate_scales_all_that_a_recipe_has(name):
    second = 0.002 if name == "muon" else None
    optimizer = OptimizerConfig(name=name, learning_rate=0.02, adamw_learning_rate=second)
    changed = with_learning_rate(tiny_recipe(optimizer=optimizer), 0.05).optimizer
    assert changed.learning_rate == 0.05
    assert changed.adamw_learning_rate == (pytest.approx(0.005) if name == "muon" else None)
    same = {"learning_rate": 0.02, "adamw_learning_rate": second}
    assert dataclasses.replace(changed, **same) == optimizer


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimizerConfig(learning_rate=-1.0), "learning_rate is -1.0"),
        (
            lambda: OptimizerConfig(name="muon", adamw_learning_rate=-1.0),
            "adamw_learning_rate is -1.0; expected a value over 0",
        ),
        (
            lambda: OptimizerConfig(name="muon", adamw_learning_rate=1e30),
            "adamw_learning_rate is 1e\\+30; expected a value over",
        ),
        (lambda: OptimizerConfig(weight_decay=-0.1), "weight_decay is -0.1, momentum 0.9"),
        (lambda: OptimizerConfig(name="muon"), "adamw_learning_rate.*muon needs it; set it"),
        (lambda: OptimizerConfig(adamw_learning_rate=0.1), "optimizer.name is adamw: only muon has it"),
        (
            lambda: OptimizerConfig(momentum=0.95),
            "momentum is 0.95, but optimizer.name=adamw does not use it.* at 0.9.",
        ),
        (
            lambda: OptimizerConfig(name="sgd", betas=(0.9, 0.99)),
            r"betas is \(0.9, 0.99\), but optimizer.name=sgd does not use it; only adamw and muon do",
        ),
        (lambda: ScheduleConfig(warmup=1.5), "warmup is 1.5, final_fraction 0.0; expected"),
        (lambda: ScheduleConfig(warmup_steps=-1), "warmup_steps is -1; expected 0 or more"),
        (lambda: ScheduleConfig(warmup=0.1, warmup_steps=5), "warmup is 0.1, but schedule.warmup_steps=5 overrides it"),
        (
            lambda: Augmentation(crop="pad", min_crop_area=0.5),
            "min_crop_area is 0.5, which has no effect without crop=inception",
        ),
        (
            lambda: Augmentation(crop="inception", pad_pixels=6),
            "pad_pixels is 6, which has no effect without crop=pad. Leave it at 4",
        ),
        (lambda: Augmentation(pad_pixels=0), "pad_pixels is 0, which has no effect"),
        (
            lambda: Augmentation(mix_probability=0.5),
            "mix_probability is 0.5, which has no effect without mixup or cutmix above 0",
        ),
    ],
)
def test_impossible_values_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: OptimizerConfig(name="sgd", momentum=0.0),
        lambda: OptimizerConfig(name="adamw", betas=(0.9, 0.99)),
        lambda: OptimizerConfig(name="muon", adamw_learning_rate=0.1, momentum=0.95, betas=(0.9, 0.99)),
        lambda: Augmentation(crop="inception", min_crop_area=0.5),
        lambda: Augmentation(crop="pad", pad_pixels=0),
        lambda: Augmentation(cutmix=1.0, mix_probability=0.5),
    ],
)
def test_values_that_take_effect_are_taken(make):
    make()


@pytest.mark.parametrize("clip_norm", [1.0, None])
@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_a_step_whose_gradient_is_not_finite_changes_nothing(name, clip_norm):
    second = 0.1 if name == "muon" else None
    optimizer = OptimizerConfig(name=name, learning_rate=0.1, adamw_learning_rate=second, clip_norm=clip_norm)
    recipe = tiny_recipe(optimizer=optimizer, ema_decay=0.5, on_nonfinite="skip", precision="float32")
    state = TrainState(recipe)
    torch.manual_seed(1)
    rows = nn.functional.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    good = TrainingBatch(torch.randn(4, 3, 8, 8), rows, None, np.arange(4, dtype=np.uint64))
    assert math.isfinite(update(state, state.model, good, recipe, 1.0))
    before = state.tensors()
    bad = good._replace(images=good.images.clone().index_fill_(0, torch.tensor([2]), math.inf))
    assert math.isnan(update(state, state.model, bad, recipe, 1.0))
    after = state.tensors()
    assert before.keys() == after.keys() and state.step == 2
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    update(state, state.model, good, recipe, 1.0)
    changed = state.tensors()
    assert not any(torch.equal(value, changed[key]) for key, value in before.items() if key.startswith("model/"))
