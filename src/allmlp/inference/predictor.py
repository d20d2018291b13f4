"""`Predictor`: from photos in any form to labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint
from allmlp.errors import ConfigError, DataError
from allmlp.inference.opening import open_model
from allmlp.inference.photos import Photo, as_photos, output_rows
from allmlp.inference.runnable import RunnableModel
from allmlp.metrics import softmax

__all__ = ["Prediction", "Predictor", "ScoredLabel"]


class ScoredLabel(TypedDict):
    """A class and its probability, 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one photo.

    Attributes:
        source: the photo's path or name; "image 3" for the third photo where it has no name.
        labels: the most probable classes, best first. The scores of all classes sum to 1.
    """

    source: str
    labels: tuple[ScoredLabel, ...]


class Predictor:
    """A model ready to answer. Photos are decoded while it computes, a bounded number ahead, so memory stays bounded.

    Attributes:
        class_names: K names, in the order of the model.
    """

    def __init__(self, model: RunnableModel, *, batch_size: int = 32) -> None:
        """`model` gives logits of at least one class.

        Raises:
            ConfigError: a batch size under 1, or a model without classes.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; expected at least 1.")
        if not model.description.class_names:
            raise ConfigError("This checkpoint has no classifier (num_classes is 0), so it cannot name photos.")
        if model.output != "logits":
            raise ConfigError(f"This model gives {model.output}; open it with output='logits' to name photos.")
        self.class_names = model.description.class_names
        self._forward = model.forward
        self._preprocessing = model.description.preprocessing
        self._batch_size = batch_size
        self._temperature = model.description.temperature

    @classmethod
    def from_checkpoint(
        cls, source: str | Path | Checkpoint, *, device: str = "auto", batch_size: int = 32
    ) -> "Predictor":
        """Load a run folder, a checkpoint folder, or whatever else `open_model` takes.

        Raises:
            CheckpointError: nothing usable at `source`.
            ConfigError: an unavailable device, a batch size under 1, or a model without classes.
        """
        return cls(open_model(source, device=device), batch_size=batch_size)

    def predict(self, images: Photo | Iterable[Photo], *, top_k: int = 5) -> list[Prediction]:
        """Return one prediction for each photo, in order; a single photo gives a list of one.

        Args:
            images: one photo or any number of them: paths, encoded bytes, (name, bytes), PIL images, or arrays
                (H, W, 3) uint8 RGB.
            top_k: how many labels; all K when there are fewer.

        Raises:
            DataError: photos that cannot be read or decoded, all of them named.
            ConfigError: `top_k` under 1.
        """
        answers = list(self.stream(as_photos(images), top_k=top_k))
        problems = [answer for answer in answers if isinstance(answer, DataError)]
        if problems:
            raise DataError("\n".join(str(problem) for problem in problems))
        return [answer for answer in answers if isinstance(answer, Prediction)]

    def stream(self, images: Iterable[Photo], *, top_k: int = 5) -> Iterator[Prediction | DataError]:
        """Yield, for each photo in order, its prediction, or the error that names it when it cannot be decoded.

        Raises:
            ConfigError: `top_k` under 1.
        """
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}; expected at least 1.")
        return self._stream(images, top_k)

    def _stream(self, images: Iterable[Photo], top_k: int) -> Iterator[Prediction | DataError]:
        rows = output_rows(self._forward, self._preprocessing, images, batch_size=self._batch_size)
        for name, row in rows:
            yield row if isinstance(row, DataError) else Prediction(name, self._labels(row, top_k))

    def _labels(self, logits: NDArray[np.float32], top_k: int) -> tuple[ScoredLabel, ...]:
        probabilities = softmax(logits, temperature=self._temperature)
        best = np.argsort(-logits, kind="stable")[:top_k]  # of logits: a low temperature makes many probabilities 0
        return tuple(ScoredLabel(label=self.class_names[index], score=float(probabilities[index])) for index in best)
