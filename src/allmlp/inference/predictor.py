"""`Predictor`: labels for photos in any form."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, PreprocessingChanges
from allmlp.errors import ConfigError, DataError
from allmlp.inference.opening import open_model
from allmlp.inference.photos import Photo, as_photos, output_rows, raise_unreadable
from allmlp.inference.runnable import RunnableModel, check_model, check_positive, refuse_pickle
from allmlp.metrics import softmax

__all__ = ["Prediction", "Predictor", "ScoredLabel"]


class ScoredLabel(TypedDict):
    """A class name and its probability, in 0..1."""

    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for one photo.

    Attributes:
        source: the photo's path or name; "image 3" for the third photo if it has no name.
        labels: the most probable classes, best first. The scores of all K classes sum to 1.
    """

    source: str
    labels: tuple[ScoredLabel, ...]


class Predictor:
    """Classifies photos with a model. The next photos, a bounded number, are decoded while the model computes.

    Attributes:
        class_names: K names, in the model's order.
    """

    def __init__(self, model: RunnableModel, *, batch_size: int = 32) -> None:
        """Use a model with a classifier, opened with output="logits".

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
        self._preprocessing = model.description.preprocessing
        self._batch_size = batch_size
        self._temperature = model.description.temperature

    @classmethod
    def from_checkpoint(
        cls,
        source: str | Path | Checkpoint,
        *,
        device: str = "auto",
        batch_size: int = 32,
        preprocessing: PreprocessingChanges | None = None,
    ) -> "Predictor":
        """Load a run folder, a checkpoint folder or any other source that `open_model` takes.

        `preprocessing` overrides the source's, as in `load_checkpoint`.

        Raises:
            CheckpointError: nothing usable at `source`.
            ConfigError: an unavailable device, a batch size under 1, or a model without classes.
        """
        return cls(open_model(source, device=device, preprocessing=preprocessing), batch_size=batch_size)

    def __repr__(self) -> str:
        height, width = self._preprocessing.image_size
        return f"Predictor({len(self.class_names):,} classes, images of {height} x {width} pixels)"

    __reduce__ = refuse_pickle

    def predict(self, images: Photo | Iterable[Photo], *, top_k: int = 5) -> list[Prediction]:
        """Return one prediction per photo, in order; for a single photo, a list of one.

        Args:
            images: one photo or an iterable of photos: paths, bytes of image files, (name, bytes), open files and uploads,
                PIL images, or uint8 RGB arrays (H, W, 3).
            top_k: the number of labels per photo; all K if there are fewer classes.

        Raises:
            DataError: photos that cannot be read or decoded, all of them named; or neither a photo nor an iterable of them.
            ConfigError: `top_k` under 1.
        """
        check_positive(top_k, "top_k")
        answers = list(self.stream(as_photos(images), top_k=top_k))
        raise_unreadable(answers)
        return [answer for answer in answers if isinstance(answer, Prediction)]

    def stream(self, images: Iterable[Photo], *, top_k: int = 5) -> Iterator[Prediction | DataError]:
        """Yield one prediction per photo, in order; in its place, the error if the photo is unreadable.

        Raises:
            ConfigError: `top_k` under 1.
        """
        check_positive(top_k, "top_k")
        return self._stream(images, top_k)

    def _stream(self, images: Iterable[Photo], top_k: int) -> Iterator[Prediction | DataError]:
        rows = output_rows(self._forward, self._preprocessing, images, batch_size=self._batch_size)
        for name, row in rows:
            yield row if isinstance(row, DataError) else Prediction(name, self._labels(row, top_k))

    def _labels(self, logits: NDArray[np.float32], top_k: int) -> tuple[ScoredLabel, ...]:
        probabilities = softmax(logits, temperature=self._temperature)
        best = np.argsort(-logits, kind="stable")[:top_k]  # by logits: at a low temperature many probabilities are 0
        return tuple(ScoredLabel(label=self.class_names[index], score=float(probabilities[index])) for index in best)
