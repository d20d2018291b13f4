"""One training step: from a batch to new weights."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from allmlp.errors import ConfigError
from allmlp.training.feed import TrainingBatch
from allmlp.training.loss import classification_loss
from allmlp.training.recipe import Recipe
from allmlp.training.state import TrainState

__all__ = ["update"]


def update(
    state: TrainState, model: Callable[..., Tensor], batch: TrainingBatch, recipe: Recipe, factor: float
) -> float:
    """Take one step at `factor` times the peak learning rate and return the batch's loss.

    A loss or a gradient that is not finite leaves the weights as they are. Then the return value is not finite either, where
    the recipe skips such steps.

    Raises:
        ConfigError: the loss or the gradient is not finite, and the recipe stops there.
    """
    # Dropout draws from torch's generator: seeding it anew makes it, too, a function of (seed, step).
    torch.manual_seed(recipe.seed * 1_000_003 + state.step)
    state.optimizer.zero_grad()
    value = 0.0
    for part in batch.parts(recipe.accumulation):
        with torch.autocast(part.images.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits = model(part.images, depth_draws=part.depth_draws)
        loss = classification_loss(logits, part.labels, recipe.loss) / recipe.accumulation
        value += float(loss.detach())
        if not math.isfinite(value):
            return _not_finite("loss", value, state, recipe)
        loss.backward()  # type: ignore[no-untyped-call]
    norm = state.optimizer.gradient_norm()
    if not math.isfinite(norm):
        return _not_finite("gradient's norm", norm, state, recipe)
    state.step_optimizer(norm, factor)
    return value


def _not_finite(what: str, value: float, state: TrainState, recipe: Recipe) -> float:
    if recipe.on_nonfinite == "stop":
        raise ConfigError(
            f"The {what} became {value} at step {state.step + 1}; the weights before it are kept. "
            f"Lower the learning rate (--set optimizer.learning_rate={recipe.optimizer.learning_rate / 3:.1g}), "
            "clip gradients (--set optimizer.clip_norm=1.0), or leave such steps out (--on-nonfinite skip)."
        )
    state.skip_step()
    return math.nan
