"""`Embedder`: from photos in any form to features, the mean over tokens before the classifier."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, load_checkpoint
from allmlp.data import Preprocessing, Split, split_batches
from allmlp.errors import ConfigError, DataError
from allmlp.inference.backends.eager import eager_forward
from allmlp.inference.photos import Photo, as_photos, output_rows
from allmlp.metrics import Forward

__all__ = ["Embedder", "features_forward"]


def features_forward(
    checkpoint: Checkpoint, *, device: str = "auto", precision: Literal["float32", "bfloat16"] = "float32"
) -> Forward:
    """Return a `Forward` to features, float32 (B, 3, H, W) to (B, C), instead of logits; else as `eager_forward`."""
    headless = checkpoint.replace(
        config=dataclasses.replace(checkpoint.config, num_classes=0),
        weights={name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")},
        class_names=(),
    )
    return eager_forward(headless, device=device, precision=precision)


class Embedder:
    """A checkpoint ready to give features. Its classes do not matter; it need not have any.

    Attributes:
        num_features: C.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", batch_size: int = 32) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; expected at least 1.")
        self.num_features = checkpoint.config.hidden_dim
        self._forward = features_forward(checkpoint, device=device)
        self._preprocessing: Preprocessing = checkpoint.preprocessing
        self._batch_size = batch_size

    @classmethod
    def from_checkpoint(
        cls, source: str | Path | Checkpoint, *, device: str = "auto", batch_size: int = 32
    ) -> "Embedder":
        """Load a run folder, a checkpoint folder, or a `Checkpoint`.

        Raises:
            CheckpointError: nothing usable at `source`.
            ConfigError: a device that is not there, or a batch size under 1.
        """
        checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
        return cls(checkpoint, device=device, batch_size=batch_size)

    def embed(self, images: Photo | Iterable[Photo]) -> NDArray[np.float32]:
        """Return the features (n, C) of one photo or any number of them, in order.

        Raises:
            DataError: photos that cannot be read or decoded, all of them named.
        """
        answers = [row for _, row in self.stream(as_photos(images))]
        problems = [row for row in answers if isinstance(row, DataError)]
        if problems:
            raise DataError("\n".join(str(problem) for problem in problems))
        rows = [row for row in answers if not isinstance(row, DataError)]
        return np.stack(rows) if rows else np.empty((0, self.num_features), dtype=np.float32)

    def stream(self, images: Iterable[Photo]) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
        """Yield, for each photo in order, its name and its features (C,), or the error that names it."""
        return output_rows(self._forward, self._preprocessing, images, batch_size=self._batch_size)

    def embed_split(self, split: Split) -> NDArray[np.float32]:
        """Return the features (n, C) of the photos of a split, in its order.

        Raises:
            DataError: photos that cannot be read or decoded, all of them named.
        """
        batches = split_batches(
            split, split.labels * 0, self._preprocessing, num_classes=1, batch_size=self._batch_size
        )
        rows = [self._forward(batch.images[batch.mask]) for batch in batches]
        return np.concatenate([np.empty((0, self.num_features), dtype=np.float32), *rows])
