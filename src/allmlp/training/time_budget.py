"""How many epochs fit into a time, measured on this machine."""

import contextlib
import dataclasses
import time

import numpy as np
import torch

from allmlp.training.distributed.process_group import ONE_PROCESS, ProcessGroup
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.progress import Progress
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.step.state import TrainState
from allmlp.training.step.update import update
from allmlp.training.validation import validate

__all__ = ["epochs_within_budget"]

_MEASURED_STEPS = 10  # on a slow processor each takes a second of the time that is to be saved


def epochs_within_budget(
    recipe: ResolvedRecipe, feed: InputPipeline, minutes: float, *, ranks: ProcessGroup, progress: Progress
) -> int:
    """Return how many epochs `minutes` allow, measured on a throwaway state; at least 1, at most the recipe's."""
    state = TrainState(recipe, dataclasses.replace(ONE_PROCESS, device=ranks.device))
    model = torch.compile(state.model) if recipe.compile else state.model
    times = [time.perf_counter()]
    with contextlib.closing(feed.batches(first_step=0, num_steps=_MEASURED_STEPS)) as batches:
        for batch in batches:
            update(state, model, batch, recipe, 0.0)
            times.append(time.perf_counter())  # feeding counts too
    start = time.perf_counter()
    validate(state, feed, recipe, ranks=ranks)
    steps_in_epoch = len(feed.order.keys) / recipe.batch_size
    # The lower quartile: what else the machine does just now must not halve the training. For what it does later, 15 % of
    # the time are kept in reserve.
    step_seconds = float(np.quantile(np.diff(times)[2:], 0.25))
    epoch_seconds = step_seconds * steps_in_epoch + time.perf_counter() - start
    num_epochs = max(1, min(recipe.num_epochs, int(0.85 * 60 * minutes / epoch_seconds)))
    progress.message(
        f"time    about {epoch_seconds:.1f} s an epoch: {num_epochs} of {recipe.num_epochs} epochs "
        f"fit into {minutes:g} minutes"
    )
    return num_epochs
