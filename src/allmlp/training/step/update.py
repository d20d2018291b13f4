"""One training step: forward and backward pass of a batch, and the optimizer step."""

import contextlib
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from allmlp.errors import DivergedError
from allmlp.training.distributed.process_group import ONE_PROCESS, ProcessGroup
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.step.batch import TrainingBatch
from allmlp.training.step.loss import classification_loss
from allmlp.training.step.state import TrainState

__all__ = ["gradient", "seed_dropout", "update"]


def update(
    state: TrainState,
    model: Callable[..., Tensor],
    batch: TrainingBatch,
    recipe: ResolvedRecipe,
    factor: float,
    *,
    ranks: ProcessGroup = ONE_PROCESS,
) -> float:
    """Take one step at `factor` times the peak learning rate and return the loss of the whole batch, over all processes.

    A loss or gradient that is not finite leaves the weights unchanged. If the recipe skips such steps, NaN is returned.

    Raises:
        DivergedError: the loss or the gradient is not finite and the recipe does not skip such steps; or the weights are not
            finite, which no later step can repair.
    """
    loss, norm = gradient(state, model, batch, recipe, ranks=ranks)
    for quantity, value in (("loss", loss), ("gradient norm", norm)):
        if not math.isfinite(value):
            return _stop_or_skip(quantity, value, state, recipe, ranks)
    state.step_optimizer(norm, factor)
    return loss


def gradient(
    state: TrainState,
    model: Callable[..., Tensor],
    batch: TrainingBatch,
    recipe: ResolvedRecipe,
    *,
    ranks: ProcessGroup = ONE_PROCESS,
) -> tuple[float, float]:
    """Compute the gradient of the whole batch's loss with respect to the parameters; return the loss and the gradient norm.

    Both are means over the processes, so that all processes make the same decision.
    """
    seed_dropout(recipe, state.step, ranks)
    state.optimizer.zero_grad()
    value = 0.0
    for number, part in enumerate(batch.parts(recipe.accumulation), start=1):
        with _gradient_sync(model, enabled=number == recipe.accumulation):
            with torch.autocast(part.images.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                logits = model(part.images, depth_draws=part.depth_draws)
            loss = classification_loss(logits, part.labels, recipe.loss, class_weights=part.class_weights)
            loss = loss / recipe.accumulation
            value += float(loss.detach())
            loss.backward()  # type: ignore[no-untyped-call]
    mean_loss, norm = ranks.gather([value, state.optimizer.gradient_norm()]).mean(axis=0).tolist()
    return mean_loss, norm


def seed_dropout(recipe: ResolvedRecipe, step: int, ranks: ProcessGroup) -> None:
    """Seed torch's generator, from which dropout draws, for a step.

    This makes dropout, too, a function of (seed, step), and of the process, so that the processes do not share their masks.
    The masks thus depend on how a batch is split.
    """
    torch.manual_seed((recipe.seed * 1_000_003 + step) * ranks.count + ranks.rank)


def _gradient_sync(model: object, *, enabled: bool) -> contextlib.AbstractContextManager[None]:
    """Return a context in which DistributedDataParallel averages gradients only if `enabled`: in the last part of a step."""
    if enabled or not isinstance(model, DistributedDataParallel):
        return contextlib.nullcontext()
    no_sync: contextlib.AbstractContextManager[None] = model.no_sync()
    return no_sync


def _stop_or_skip(quantity: str, value: float, state: TrainState, recipe: ResolvedRecipe, ranks: ProcessGroup) -> float:
    with ranks.raise_on_all():
        state.check_finite()
    with ranks.raise_on_all():
        if recipe.on_nonfinite == "stop":
            clip_norm = recipe.optimizer.clip_norm
            clip = "clip gradients (--set optimizer.clip_norm=1.0), " if clip_norm is None or clip_norm > 1.0 else ""
            raise DivergedError(
                f"The {quantity} became {value} at step {state.step + 1}; the weights from before that step are kept. "
                f"Lower the learning rate (--set optimizer.learning_rate={recipe.optimizer.learning_rate / 3:.1g}), "
                f"{clip}or skip such steps (--set on_nonfinite=skip)."
            )
    state.skip_step()
    return math.nan
