"""`Predictor`: labels for photos in any form."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, PreprocessingChanges
from allmlp.errors import ConfigError, DataError
from allmlp.inference.opening import open_model
from allmlp.inference.photos import Photo, as_iterable, as_photos, output_rows, raise_unreadable
from allmlp.inference.prediction import Prediction, Predictions, ScoredLabel
from allmlp.inference.runnable import RunnableModel, check_model, check_positive, refuse_pickle
from allmlp.metrics import Forward, closeness, softmax

__all__ = ["Predictor"]


class Predictor:
    """Classifies photos with a model. The next photos, a bounded number, are decoded while the model computes.

    Attributes:
        class_names: K names, in the model's order.
    """

    def __init__(self, model: RunnableModel, *, batch_size: int = 32, unknown: bool = True) -> None:
        """Use a model with a classifier, opened with output="logits".

        `unknown` False answers with one of the classes for every photo, though the model has a threshold.

        Raises:
            ConfigError: not a runnable model, a batch size under 1, a model without classes, or one that returns features.
        """
        check_model(model, batch_size=batch_size)
        if not model.description.class_names:
            raise ConfigError("This checkpoint has no classifier (num_classes is 0), so it cannot classify photos.")
        if model.output != "logits":
            raise ConfigError(f"This model returns {model.output}. To classify photos, open it with output='logits'.")
        self.class_names = model.description.class_names
        self._forward = model.forward
        self._preparation = model.preparation
        self._batch_size = batch_size
        self._temperature = model.description.temperature
        self._rule = model.description.unknown if unknown else None
        if self._rule is not None:
            if model.with_features is None:
                raise ConfigError('This model has a threshold of "unknown" for its features, but returns only logits.')
            self._statistics = self._rule.matrix(model.description.config.hidden_dim)
            self._forward = model.with_features()

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
        unknown: bool = True,
    ) -> "Predictor":
        """Load a run folder, a checkpoint folder or any other source that `open_model` takes.

        `backend`, `device` and `precision` are as in `open_model`; `preprocessing` overrides the source's, as in
        `load_checkpoint`; `unknown` is as in `Predictor`.

        Raises:
            CheckpointError: nothing usable at `source`.
            ConfigError: an unknown backend or precision, an unavailable device, a batch size under 1, or a model without
                classes.
            MissingExtraError: a library of the backend is not installed.
        """
        model = open_model(source, backend=backend, device=device, precision=precision, preprocessing=preprocessing)
        return cls(model, batch_size=batch_size, unknown=unknown)

    def __repr__(self) -> str:
        height, width = self._preparation.image_size
        return f"Predictor({len(self.class_names):,} classes, images of {height} x {width} pixels)"

    __reduce__ = refuse_pickle

    @property
    def has_unknown(self) -> bool:
        """Whether photos may be answered with "unknown"."""
        return self._rule is not None

    def predict(
        self, images: Photo | Iterable[Photo], *, top_k: int = 5, flip: bool = False, thumbnails: bool = False
    ) -> Predictions:
        """Return one prediction per photo, in order: a list, of one prediction for a single photo.

        Args:
            images: one photo or an iterable of photos: paths, bytes of image files, (name, bytes), open files and uploads,
                PIL images, or uint8 RGB arrays (H, W, 3). The path of a folder stands for all photos in it, sorted by path.
            top_k: the number of labels per photo; all K if there are fewer classes.
            flip: average the logits of each photo and its mirror image, which takes twice as long.
            thumbnails: keep a small version of each photo, which a notebook shows next to its labels.

        Raises:
            DataError: photos that cannot be read or decoded, all of them named; or neither a photo nor an iterable of them.
            ConfigError: `top_k` under 1.
            CheckpointError: the model's outputs are not finite.
        """
        check_positive(top_k, "top_k")
        answers = list(self.stream(as_photos(images), top_k=top_k, flip=flip, thumbnails=thumbnails))
        raise_unreadable(answers)
        return Predictions(answer for answer in answers if isinstance(answer, Prediction))

    def stream(
        self, images: Photo | Iterable[Photo], *, top_k: int = 5, flip: bool = False, thumbnails: bool = False
    ) -> Iterator[Prediction | DataError]:
        """Yield one prediction per photo, in order; in its place, the error if the photo is unreadable.

        The arguments are those of `predict`, except that folders are not searched.

        Raises:
            DataError: neither a photo nor an iterable.
            ConfigError: `top_k` under 1.
            CheckpointError: the model's outputs are not finite, when their photo's turn comes.
        """
        check_positive(top_k, "top_k")
        return self._stream(
            as_iterable(images), top_k, _with_mirror(self._forward) if flip else self._forward, thumbnails
        )

    def _stream(
        self, images: Iterable[Photo], top_k: int, forward: Forward, thumbnails: bool
    ) -> Iterator[Prediction | DataError]:
        rows = output_rows(forward, self._preparation, images, batch_size=self._batch_size, thumbnails=thumbnails)
        for name, outputs, thumbnail in rows:
            yield outputs if isinstance(outputs, DataError) else self.prediction(name, outputs, top_k, thumbnail)

    def outputs(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Return the model's outputs for a batch, one row per photo, for callers that decode and batch by themselves.

        Args:
            prepared: what `RunnableModel.preparation.resize` returned for each photo.

        Returns:
            Float32 (B, K), or (B, K + C) with the features if `has_unknown`. They may be NaN or infinite.
        """
        return self._forward(self._preparation.normalise(np.stack(prepared)))

    def prediction(
        self, source: str, outputs: NDArray[np.float32], top_k: int = 5, thumbnail: bytes | None = None
    ) -> Prediction:
        """Return the prediction for a photo from its row of `outputs`, (K,) or (K + C,) float32."""
        margin = self.known_margin(outputs)
        is_unknown = margin is not None and bool(margin < 0)
        return Prediction(source, self._labels(outputs[: len(self.class_names)], top_k), thumbnail, is_unknown)

    def known_margin(self, outputs: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """Return by how much the score of each photo exceeds the threshold of "unknown", from rows of `outputs`, float64 (...).

        A photo with a negative margin is "unknown". None for a model without a threshold.
        """
        if self._rule is None:
            return None
        features = outputs[..., len(self.class_names) :]
        return np.asarray(closeness(features, self._statistics) - self._rule.threshold)

    def _labels(self, logits: NDArray[np.float32], top_k: int) -> tuple[ScoredLabel, ...]:
        probabilities = softmax(logits, temperature=self._temperature)
        best = np.argsort(-logits, kind="stable")[:top_k]  # by logits: at a low temperature many probabilities are 0
        return tuple(ScoredLabel(label=self.class_names[index], score=float(probabilities[index])) for index in best)


def _with_mirror(forward: Forward) -> Forward:
    """Return a forward with the mean of the outputs (B, K) of images (B, 3, H, W) and of their mirror images."""

    def both(images: NDArray[np.float32]) -> NDArray[np.float32]:
        mirrored = np.ascontiguousarray(images[..., ::-1])
        return (forward(images) + forward(mirrored)) / np.float32(2)

    return both
