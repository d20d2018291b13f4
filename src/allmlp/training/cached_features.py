"""Features of the photos, computed once for a run that trains only the classifier."""

import contextlib
import math
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.data import Batch
from allmlp.io.display import Report
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.recipe.cached_passes import trains_on_features
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.step.batch import TrainingBatch
from allmlp.training.step.state import TrainState
from allmlp.training.step.update import seed_dropout

__all__ = ["MAX_BYTES", "CachedFeatures", "KnownFeatures", "cached_features"]

MAX_BYTES = 1 << 30
"""The most memory that training features may take on each process. Fixed, because the last bits depend on the choice."""


class KnownFeatures(NamedTuple):
    """Features of the photos of a run, for its folds: the same frozen weights would compute them again.

    Only their last bits would be others, since they depend on the batch.

    features: (passes, photos, C).
    is_known: bool (passes, photos), which of them were computed.
    """

    features: Tensor
    is_known: NDArray[np.bool_]

    def of(self, indices: NDArray[np.int64]) -> "KnownFeatures":
        """Return those of some of the photos."""
        rows = torch.from_numpy(indices).to(self.features.device)
        return KnownFeatures(self.features[:, rows], self.is_known[:, indices])


def cached_features(
    state: TrainState,
    pipeline: InputPipeline,
    recipe: ResolvedRecipe,
    ranks: ProcessGroup,
    *,
    known: KnownFeatures | None = None,
    report: Report,
) -> "CachedFeatures | None":
    """Return a cache for a run that trains only the classifier; None if it has to compute features in every step.

    That is so if the recipe caches none, if they would take more than `MAX_BYTES`, or if the weights are sharded. `known` are
    features of the training photos that need not be computed.
    """
    if not trains_on_features(recipe):
        return None
    num_photos, num_passes = len(pipeline.order.keys), recipe.transfer.cached_passes
    if recipe.sampler == "uniform":  # else the photos of a rare class pass several times in an epoch
        num_epochs = math.ceil(recipe.num_steps_on(num_photos) * recipe.batch_size / num_photos)
        num_passes = min(num_passes, num_epochs)
    num_bytes = 4 * num_passes * num_photos * recipe.model.hidden_dim
    if num_bytes > MAX_BYTES or state.is_sharded:
        reason = "the weights are sharded" if state.is_sharded else f"they would take {num_bytes / 1e9:.1f} GB"
        report(f"features computed in every step, since {reason}")
        return None
    passes = "1 pass" if num_passes == 1 else f"{num_passes} passes"
    report(f"features of {passes} over the photos are computed once ({num_bytes / 1e6:.1f} MB)")
    return CachedFeatures(state, pipeline, recipe, ranks, num_passes=num_passes, known=known)


class CachedFeatures:
    """The features of the training photos, by pass and photo, and those of the validation photos.

    A batch is computed in the step that first needs one of its photos in its pass. A session that resumes repeats these
    computations, so that every feature keeps its bits, whose last ones depend on the batch.

    Attributes:
        validation: the validation batches, with features (B, C) instead of images; empty until they have been computed.
    """

    def __init__(
        self,
        state: TrainState,
        pipeline: InputPipeline,
        recipe: ResolvedRecipe,
        ranks: ProcessGroup,
        *,
        num_passes: int,
        known: KnownFeatures | None = None,
    ) -> None:
        self._model, self._pipeline, self._recipe, self._ranks = state.model, pipeline, recipe, ranks
        self._num_photos = len(pipeline.order.keys)
        shape = (num_passes * self._num_photos, recipe.model.hidden_dim)
        self._features = torch.empty(shape, device=ranks.device)
        self._is_known = np.zeros(len(self._features), np.bool_)
        self._num_computed = 0  # steps whose features this session has computed
        if known is not None:
            num_rows = min(known.is_known.size, len(self._is_known))
            self._features[:num_rows] = known.features.flatten(0, 1)[:num_rows]
            self._is_known[:num_rows] = known.is_known.ravel()[:num_rows]
        self.validation: list[Batch] = []

    def training_batches(
        self, *, first_step: int, num_steps: int, check: Callable[[], None]
    ) -> Generator[TrainingBatch, None, None]:
        """Yield this process's part of the batch of each step, with features (B, C) instead of images.

        `check` is called after each batch that is computed again before `first_step`; an exception it raises ends the session.
        A caller that stops early must close the generator.
        """
        images = self._pipeline.batches_of(step for step, _, is_new in self._steps(num_steps) if is_new)
        with contextlib.closing(images):
            for step, rows, is_new in self._steps(num_steps):
                if is_new:
                    first, positions = np.unique(rows, return_index=True)  # a small data set repeats within a batch
                    features = self._ranks.gather_rows(self._compute(next(images), step))
                    self._features[self._on_device(first)] = features[self._on_device(positions)]
                self._num_computed = max(self._num_computed, step + 1)
                if step >= first_step:
                    features = self._features[self._on_device(rows[self._ranks.part(len(rows))])]
                    yield self._pipeline.feature_batch(step, features)
                elif is_new:
                    check()

    def known(self, *, num_steps: int, check: Callable[[], None]) -> KnownFeatures:
        """Return the features that `num_steps` steps use; those that this session has not computed are computed now.

        For `check` see `training_batches`.
        """
        if self._num_computed < num_steps:
            for _ in self.training_batches(first_step=num_steps, num_steps=num_steps, check=check):
                raise AssertionError("no step is left to train")
        is_known = self._is_known.copy()
        for _, rows, _ in self._steps(num_steps):
            is_known[rows] = True
        features = self._features.reshape(-1, self._num_photos, self._features.shape[1])
        return KnownFeatures(features, is_known.reshape(-1, self._num_photos))

    def _steps(self, num_steps: int) -> Iterator[tuple[int, NDArray[np.int64], bool]]:
        """Yield each step from 0, the rows (B,) of its samples in the cache, and whether some of them are new in it."""
        is_known = self._is_known.copy()
        for step in range(num_steps):
            indices, passes = self._pipeline.batch(step)
            rows = passes * self._num_photos + indices
            is_new = not is_known[rows].all()
            is_known[rows] = True
            yield step, rows, is_new

    @torch.no_grad()
    def _compute(self, batch: TrainingBatch, step: int) -> Tensor:
        """Return the features (B, C) of this process's part of a batch, computed as the step itself would."""
        seed_dropout(self._recipe, step, self._ranks)
        is_bfloat16 = self._recipe.precision == "bfloat16"
        parts = []
        for part in batch.parts(self._recipe.accumulation):
            with torch.autocast(part.images.device.type, torch.bfloat16, enabled=is_bfloat16):
                parts.append(self._model.features(part.images, depth_draws=part.depth_draws).float())
        return torch.cat(parts)

    def _on_device(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(rows).to(self._features.device)
