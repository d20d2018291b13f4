"""The number of epochs that fit into a time budget, measured on this machine."""

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

_MEASURED_STEPS = 10  # on a slow CPU each one costs a second of the budget


def epochs_within_budget(
    recipe: ResolvedRecipe, pipeline: InputPipeline, minutes: float, *, ranks: ProcessGroup, progress: Progress
) -> int:
    """Return how many epochs fit into `minutes`, measured on a throwaway state: at least 1, at most the recipe's."""
    state = TrainState(recipe, dataclasses.replace(ONE_PROCESS, device=ranks.device))
    model = torch.compile(state.model) if recipe.compile else state.model
    times = [time.perf_counter()]
    with contextlib.closing(pipeline.batches(first_step=0, num_steps=_MEASURED_STEPS)) as batches:
        for batch in batches:
            update(state, model, batch, recipe, 0.0)
            times.append(time.perf_counter())  # includes waiting for the batch
    start = time.perf_counter()
    validate(state, pipeline, recipe, ranks=ranks)
    steps_in_epoch = len(pipeline.order.keys) / recipe.batch_size
    # The lower quartile, so that other work on the machine during the measurement does not halve the training. 15 % of the
    # time is kept in reserve for such work later on.
    step_seconds = float(np.quantile(np.diff(times)[2:], 0.25))
    epoch_seconds = step_seconds * steps_in_epoch + time.perf_counter() - start
    num_epochs = max(1, min(recipe.num_epochs, int(0.85 * 60 * minutes / epoch_seconds)))
    progress.message(
        f"time    about {epoch_seconds:.1f} s per epoch: {num_epochs} of {recipe.num_epochs} epochs "
        f"fit into {minutes:g} minutes"
    )
    return num_epochs
