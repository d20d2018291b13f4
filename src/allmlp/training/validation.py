"""Validation during training: the averaged weights scored in training's precision, divided over processes."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.metrics import Metrics, score_batches
from allmlp.model import MlpMixer
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.recipe.recipe import Recipe
from allmlp.training.step.state import TrainState

__all__ = ["validate"]


def validate(
    state: TrainState,
    feed: InputPipeline,
    recipe: Recipe,
    *,
    ranks: ProcessGroup,
    check: Callable[[], None] = lambda: None,
) -> Metrics:
    """Score the averaged weights on the validation split. All processes call it and get the same scores.

    `check` is called between batches; what it raises ends the validation, with the trained weights back in place.

    Raises:
        CheckpointError: a logit is not finite.
    """
    with state.averaged() as model:

        def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
            check()
            return _logits(model, images, ranks, is_bfloat16=recipe.precision == "bfloat16")

        return score_batches(forward, feed.evaluation_batches("validation"), feed.class_names)


def _logits(
    model: MlpMixer, images: NDArray[np.float32], ranks: ProcessGroup, *, is_bfloat16: bool
) -> NDArray[np.float32]:
    """Return the logits (B, K) of images (B, 3, H, W), of which each process computes a share; on every process."""
    size = len(images)
    mine = torch.from_numpy(images)
    if ranks.count > 1:
        share = -(-size // ranks.count)
        mine = torch.zeros(share, *images.shape[1:])  # all give as many rows: the last shares may be filled up
        part = images[ranks.rank * share : (ranks.rank + 1) * share]
        mine[: len(part)] = torch.from_numpy(part)
    with torch.autocast(torch.device(ranks.device).type, torch.bfloat16, enabled=is_bfloat16):
        logits: Tensor = model(mine.to(ranks.device))
    return ranks.gather_rows(logits.float())[:size].cpu().numpy()
