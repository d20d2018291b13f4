"""`Embedder`: features of photos in any form, the mean over tokens before the classifier."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, PreprocessingChanges
from allmlp.data import Split, split_batches
from allmlp.errors import ConfigError, DataError
from allmlp.inference.opening import open_model
from allmlp.inference.photos import Photo, as_iterable, as_photos, output_rows, raise_unreadable
from allmlp.inference.runnable import RunnableModel, check_finite, check_model, refuse_pickle
from allmlp.io.display import Progress, no_progress

__all__ = ["Embedder"]


class Embedder:
    """Computes the features of photos with a model, which need not have a classifier.

    Attributes:
        num_features: C, the number of features.
    """

    def __init__(self, model: RunnableModel, *, batch_size: int = 32) -> None:
        """Use a model that was opened with output="features".

        Raises:
            ConfigError: not a runnable model, a batch size under 1, or a model that returns logits.
        """
        check_model(model, batch_size=batch_size)
        if model.output != "features":
            raise ConfigError(
                "This model returns logits. To embed photos, open it with open_model(..., output='features')."
            )
        self.num_features = model.description.config.hidden_dim
        self._forward = model.forward
        self._preparation = model.preparation
        self._batch_size = batch_size

    @classmethod
    def from_checkpoint(
        cls,
        source: str | Path | Checkpoint,
        *,
        backend: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        batch_size: int = 32,
        preprocessing: PreprocessingChanges | None = None,
    ) -> "Embedder":
        """Load a run folder, a checkpoint folder or any other source that `open_model` takes.

        `backend`, `device` and `precision` are as in `open_model`; `preprocessing` overrides the source's, as in
        `load_checkpoint`.

        Raises:
            CheckpointError: nothing usable at `source`.
            ConfigError: an unknown backend or precision, an unavailable device, or a batch size under 1.
            MissingExtraError: a library of the backend is not installed.
        """
        model = open_model(
            source,
            backend=backend,
            device=device,
            precision=precision,
            output="features",
            preprocessing=preprocessing,
        )
        return cls(model, batch_size=batch_size)

    def __repr__(self) -> str:
        height, width = self._preparation.image_size
        return f"Embedder({self.num_features:,} features, images of {height} x {width} pixels)"

    __reduce__ = refuse_pickle

    def embed(self, images: Photo | Iterable[Photo]) -> NDArray[np.float32]:
        """Return the features (n, C) of one or more photos, in order. A folder stands for all photos in it, sorted by path.

        Raises:
            DataError: photos that cannot be read or decoded, all of them named.
            CheckpointError: the features are not finite.
        """
        answers = [row for _, row in self.stream(as_photos(images))]
        raise_unreadable(answers)
        rows = [row for row in answers if not isinstance(row, DataError)]
        return np.stack(rows) if rows else np.empty((0, self.num_features), dtype=np.float32)

    def stream(self, images: Photo | Iterable[Photo]) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
        """Yield (name, features (C,)) for each photo, in order; in place of the features, the error if it is unreadable.

        Raises:
            DataError: neither a photo nor an iterable.
            CheckpointError: the features are not finite, when their photo's turn comes.
        """
        rows = output_rows(self._forward, self._preparation, as_iterable(images), batch_size=self._batch_size)
        return ((row.name, row.output) for row in rows)

    def embed_split(self, split: Split, *, progress: Progress = no_progress) -> NDArray[np.float32]:
        """Return the features (n, C) of the photos of a split, in the split's order.

        `progress` is called with the number of photos done and the total after each batch.

        Raises:
            DataError: photos that cannot be read or decoded, all of them named.
            CheckpointError: the features are not finite.
        """
        batches = split_batches(split, split.labels * 0, self._preparation, num_classes=1, batch_size=self._batch_size)
        rows: list[NDArray[np.float32]] = []
        for batch in batches:
            rows.append(check_finite(self._forward(batch.images[batch.mask])))
            progress(sum(map(len, rows)), len(split))
        return np.concatenate([np.empty((0, self.num_features), dtype=np.float32), *rows])
