"""`ServedModel`: a model that is ready to answer, with what a server says about it."""

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp import __version__
from allmlp.checkpoints import Checkpoint, as_arrays, load_arrays
from allmlp.data import decode
from allmlp.errors import CheckpointError
from allmlp.explanations import Explainer, gives_contributions
from allmlp.exports import export_kind, open_export, weights_digest
from allmlp.inference import Predictor, RunnableModel, open_model

__all__ = ["ServedModel"]


class ServedModel:
    """Decodes photos and computes answers or features; any thread may call it.

    Attributes:
        info: what GET /info answers.
        explains: whether the backend gives what `explain` needs.
    """

    def __init__(self, source: str | Path | Checkpoint, *, backend: str, device: str, precision: str) -> None:
        """Open a model with a classifier, and compute once, so that the first request is as fast as others.

        Raises:
            CheckpointError: nothing usable at `source`.
            ConfigError: not a source, an unknown backend, device or precision, or a model without classes.
            MissingExtraError: a library of the backend is not installed.
        """
        self._source = source
        self._options = {"backend": backend, "device": device, "precision": precision}
        self._model = open_model(self._source, **self._options)  # type: ignore[arg-type]
        self._predictor = Predictor(self._model)
        self._opening = threading.Lock()
        self._features: RunnableModel | None = None
        self._explainer: Explainer | None = None
        self.explains = gives_contributions(source, backend)
        self.info = self._info()
        self.outputs([self.prepare(np.zeros((8, 8, 3), np.uint8))])

    @property
    def remark(self) -> str:
        """Why "auto" took this backend, for people; "" for PyTorch as the default, and for a backend that was named."""
        return self._model.remark

    def decode(self, content: bytes) -> NDArray[Any]:
        """Return what `outputs` and `features` take, from the bytes of a photo.

        Raises:
            DataError: not a photo, or one that cannot be read; the message starts with "photo".
        """
        return self.prepare(self.pixels(content))

    def prepare(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return what `outputs` and `features` take, from RGB pixels (h, w, 3)."""
        return self._model.preparation.resize(pixels)

    def outputs(self, images: Sequence[NDArray[Any]]) -> Sequence[NDArray[np.float32]]:
        """Return the row for `answer` of each of the prepared photos."""
        return _finite(self._predictor.outputs(images))

    def features(self, images: Sequence[NDArray[Any]]) -> Sequence[NDArray[np.float32]]:
        """Return the features (C,) of each of the prepared photos, after `open_features`."""
        assert self._features is not None
        model = self._features
        return _finite(model.forward(model.preparation.normalise(np.stack(images))))

    def open_features(self) -> None:
        """Open the model a second time, for its features, unless it is open: few servers need them."""
        with self._opening:
            if self._features is None:
                opened = open_model(self._source, output="features", **self._options)  # type: ignore[arg-type]
                self._check_unchanged()
                self._features = opened

    def pixels(self, content: bytes) -> NDArray[np.uint8]:
        """Return the RGB pixels (h, w, 3) of a photo. Raises DataError as `decode`."""
        return decode(content, name="photo")

    def explain(self, pixels: NDArray[np.uint8], classes: Sequence[str] | None) -> dict[str, Any]:
        """Explain the answer for a photo, after `open_explain`: see `Explanation.to_json_object`."""
        assert self._explainer is not None
        values: dict[str, Any] = self._explainer.explain(pixels, classes).to_json_object()
        values.pop("photo", None)
        return values

    def open_explain(self) -> None:
        """Open the model once more, for explanations, unless it is open."""
        with self._opening:
            if self._explainer is None:
                backend, device = self._options["backend"], self._options["device"]
                explainer = Explainer.from_checkpoint(self._source, backend=backend, device=device)
                self._check_unchanged()
                self._explainer = explainer

    def _check_unchanged(self) -> None:
        """Check that what is opened now is the model that answers. Raises CheckpointError."""
        if _identity(self._source)[0] != self.info["weights_sha256"]:
            raise CheckpointError("The model has changed since the server started. Restart the server.")

    def answer(self, outputs: NDArray[np.float32], top_k: int) -> dict[str, Any]:
        """Return what /predict answers for a photo: the labels of `Predictor.predict`, best first."""
        prediction = self._predictor.prediction("photo", outputs, top_k)
        unknown = {"unknown": True} if prediction.is_unknown else {}
        return {"labels": list(prediction.labels), **unknown}

    def _info(self) -> dict[str, Any]:
        description = self._model.description
        digest, weights_precision = _identity(self._source)
        return {
            "allmlp": __version__,
            "classes": list(description.class_names),
            "num_features": description.config.hidden_dim,
            "image_size": list(description.config.image_size),
            "preprocessing": dataclasses.asdict(description.preprocessing),
            "temperature": description.temperature,
            "explain": self.explains,
            "weights_sha256": digest,
            "weights_precision": weights_precision,
            **self._options,
            "backend": self._model.backend,
            **({"remark": self.remark} if self.remark else {}),
        }


def _identity(source: str | Path | Checkpoint) -> tuple[str, str]:
    """Return the digest of the weights, the same for a checkpoint and its exports, and their precision."""
    if isinstance(source, Checkpoint):
        return weights_digest(as_arrays(source).weights), "float32"
    if export_kind(source) is None:
        return weights_digest(load_arrays(source).weights), "float32"
    info = open_export(source).info
    return info.weights_sha256, info.precision


def _finite(outputs: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
    """Return outputs as a list of rows. Raises ValueError if they are not finite, which JSON cannot say."""
    if not np.isfinite(outputs).all():
        raise ValueError("the model returned values that are not finite")
    return list(outputs)
