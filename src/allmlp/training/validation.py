"""Validation during training: the averaged weights, scored in the training precision and split across processes."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.data import Batch
from allmlp.metrics import Metrics, score_batches
from allmlp.training.cached_features import CachedFeatures
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.recipe.recipe import Recipe
from allmlp.training.step.state import TrainState

__all__ = ["validate"]


def validate(
    state: TrainState,
    pipeline: InputPipeline,
    recipe: Recipe,
    cached: CachedFeatures | None = None,
    *,
    ranks: ProcessGroup,
    check: Callable[[], None] = lambda: None,
) -> Metrics:
    """Score the averaged weights on the validation split. All processes must call this and get the same scores.

    With `cached`, the features of the photos are computed once. `check` is called between batches. An exception it raises ends
    the validation and restores the trained weights.

    Raises:
        CheckpointError: a logit is not finite.
    """
    with state.averaged() as model:

        def forward(images: NDArray[np.float32], compute: Callable[[Tensor], Tensor] = model) -> NDArray[np.float32]:
            check()
            return _rows(compute, images, ranks, is_bfloat16=recipe.precision == "bfloat16")

        batches: Iterable[Batch] = pipeline.evaluation_batches("validation")
        if cached is not None:
            cached.validation = cached.validation or [
                batch._replace(images=forward(batch.images, model.features)) for batch in batches
            ]
            batches = cached.validation
        return score_batches(forward, batches, pipeline.class_names)


def _rows(
    compute: Callable[[Tensor], Tensor], images: NDArray[np.float32], ranks: ProcessGroup, *, is_bfloat16: bool
) -> NDArray[np.float32]:
    """Return the rows (B, n) that `compute` returns for B images or features on every process; each computes a share."""
    size = len(images)
    local_images = torch.from_numpy(images)
    if ranks.count > 1:
        share = -(-size // ranks.count)
        local_images = torch.zeros(share, *images.shape[1:])  # equal shares for all_gather: the last ones may be padded
        part = images[ranks.rank * share : (ranks.rank + 1) * share]
        local_images[: len(part)] = torch.from_numpy(part)
    with torch.autocast(torch.device(ranks.device).type, torch.bfloat16, enabled=is_bfloat16):
        rows = compute(local_images.to(ranks.device))
    return ranks.gather_rows(rows.float())[:size].cpu().numpy()
