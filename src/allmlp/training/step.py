"""One training step: from a batch to new weights."""

import contextlib
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from allmlp.errors import DivergedError
from allmlp.training.feed import TrainingBatch
from allmlp.training.loss import classification_loss
from allmlp.training.ranks import ONE_PROCESS, Ranks
from allmlp.training.recipe import Recipe
from allmlp.training.state import TrainState

__all__ = ["update"]


def update(
    state: TrainState,
    model: Callable[..., Tensor],
    batch: TrainingBatch,
    recipe: Recipe,
    factor: float,
    *,
    ranks: Ranks = ONE_PROCESS,
) -> float:
    """Take one step at `factor` times the peak learning rate and return the loss of the whole batch, all processes' parts.

    A loss or a gradient that is not finite leaves the weights as they are. Then the return value is not finite either, where
    the recipe skips such steps.

    Raises:
        DivergedError: the loss or the gradient is not finite, and the recipe stops there; or the weights are not, which no
            later step can mend.
    """
    # Dropout draws from torch's generator: seeding it anew makes it, too, a function of (seed, step), and of the process,
    # lest all drop the same in their parts of the batch. What is dropped so depends on how a batch is divided.
    torch.manual_seed((recipe.seed * 1_000_003 + state.step) * ranks.count + ranks.rank)
    state.optimizer.zero_grad()
    value = 0.0
    for number, part in enumerate(batch.parts(recipe.accumulation), start=1):
        with _sending(model, enabled=number == recipe.accumulation):
            with torch.autocast(part.images.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                logits = model(part.images, depth_draws=part.depth_draws)
            loss = classification_loss(logits, part.labels, recipe.loss, class_weights=part.class_weights)
            loss = loss / recipe.accumulation
            value += float(loss.detach())
            loss.backward()  # type: ignore[no-untyped-call]
    norm = state.optimizer.gradient_norm()
    # Decided from what all processes have, so that all decide alike.
    losses, norms = ranks.gather([value, norm]).T
    for what, values in (("loss", losses), ("gradient's norm", norms)):
        if not math.isfinite(values.mean()):
            return _not_finite(what, float(values.mean()), state, recipe, ranks)
    state.step_optimizer(norm, factor)
    return float(losses.mean())


def _sending(model: object, *, enabled: bool) -> contextlib.AbstractContextManager[None]:
    """Let DistributedDataParallel average the gradients with the last part of a step only."""
    if enabled or not isinstance(model, DistributedDataParallel):
        return contextlib.nullcontext()
    waiting: contextlib.AbstractContextManager[None] = model.no_sync()
    return waiting


def _not_finite(what: str, value: float, state: TrainState, recipe: Recipe, ranks: Ranks) -> float:
    with ranks.failing_together():
        state.check_finite()
    with ranks.failing_together():
        if recipe.on_nonfinite == "stop":
            raise DivergedError(
                f"The {what} became {value} at step {state.step + 1}; the weights before it are kept. "
                f"Lower the learning rate (--set optimizer.learning_rate={recipe.optimizer.learning_rate / 3:.1g}), "
                "clip gradients (--set optimizer.clip_norm=1.0), or leave such steps out (--set on_nonfinite=skip)."
            )
    state.skip_step()
    return math.nan
