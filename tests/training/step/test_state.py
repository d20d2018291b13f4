"""The average of the weights, and steps whose gradient is not finite."""

import math

import numpy as np
import pytest
import torch
from tests.builders import tiny_config
from torch import nn

from allmlp.training import OptimizerConfig, Recipe
from allmlp.training.step.batch import TrainingBatch
from allmlp.training.step.state import TrainState
from allmlp.training.step.update import update

TINY = tiny_config(image_size=(8, 8), patch_size=4, hidden_dim=6, tokens_mlp_dim=5, channels_mlp_dim=7)


def tiny_recipe(**settings):
    return Recipe(name="tiny", model=TINY, num_epochs=1, batch_size=4, **settings)


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
