"""`ServedModel`: a model that is ready to answer, with what a server says about it."""

import dataclasses
import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp import __version__
from allmlp.checkpoints import Checkpoint, as_arrays, load_arrays
from allmlp.data import decode
from allmlp.errors import AllmlpError, CheckpointError
from allmlp.explanations import (
    NUM_EXPLAINED_CLASSES,
    Explainer,
    Explanation,
    PreparedPhoto,
    gives_contributions,
)
from allmlp.exports import ExportInfo, export_kind, open_export, weights_digest
from allmlp.inference import Predictor, RunnableModel, open_model

__all__ = ["MODEL_CHANGED", "ServedModel"]

MODEL_CHANGED = "The model has changed since the server started. Restart the server."
"""What is said of a source that no longer is the model that answers."""


class _ToExplain(NamedTuple):
    """A photo for the explainer, and what `outputs` takes if the model may answer "unknown"."""

    photo: PreparedPhoto
    prepared: NDArray[Any] | None


class ServedModel:
    """Decodes photos and computes answers or features; any thread may call it.

    Attributes:
        identity: the digest of all that answers depend on: weights, pre-processing, class names, thresholds.
        info: what GET /info answers.
        explains: whether the backend gives what `explain` needs.
    """

    def __init__(self, source: str | Path | Checkpoint, *, backend: str, device: str, precision: str) -> None:
        """Open a model with a classifier, and compute once, so that the first request is as fast as others.

        Raises:
            CheckpointError: nothing usable at `source`, or what changes while it is opened.
            ConfigError: not a source, an unknown backend, device or precision, or a model without classes.
            MissingExtraError: a library of the backend is not installed.
        """
        before = _identity_before(source)
        self._source = source
        self._options = {"backend": backend, "device": device, "precision": precision}
        self._model = open_model(self._source, **self._options)  # type: ignore[arg-type]
        self._predictor = Predictor(self._model)
        self._opening = threading.Lock()
        self._features: RunnableModel | None = None
        self._explainer: Explainer | None = None
        self.explains = gives_contributions(source, backend)
        found = _identity(source)
        if before != found:  # then nobody knows which of them was opened
            raise CheckpointError("The model changed while it was opened. Start the server again.")
        self.identity = found.model
        self.info = self._info(found)
        self.outputs([self.prepare(np.zeros((8, 8, 3), np.uint8))])

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return self._model.description.config.num_classes

    @property
    def num_features(self) -> int:
        """The number of features of a photo."""
        return self._model.description.config.hidden_dim

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

    def decode_to_explain(self, content: bytes) -> _ToExplain:
        """Return what `explain` takes, from the bytes of a photo, after `open_explain`. Raises DataError as `decode`."""
        assert self._explainer is not None
        pixels = self.pixels(content)
        prepared = self.prepare(pixels) if self._predictor.has_unknown else None
        return _ToExplain(self._explainer.prepare(pixels, keeps_photo=False), prepared)

    def explain(self, photo: _ToExplain, classes: Sequence[str] | None) -> Explanation:
        """Explain the answer for a photo, which is "unknown" if that of /predict is."""
        assert self._explainer is not None
        found = self._explainer.explain_prepared(photo.photo, classes)
        _finite(found.logits)
        _finite(found.contributions)
        if photo.prepared is None:
            return found
        (row,) = self.outputs([photo.prepared])
        return dataclasses.replace(found, is_unknown=self._predictor.prediction("photo", row).is_unknown)

    def explanation(self, found: Explanation) -> dict[str, Any]:
        """Return what /explain answers for a photo: see `Explanation.to_json_object`."""
        values = found.to_json_object()
        values.pop("photo", None)
        return values

    def num_contributions(self, classes: Sequence[str] | None) -> int:
        """Return the number of contributions in an explanation of these classes, or of the most probable ones."""
        rows, columns = self._model.description.config.grid
        return rows * columns * (min(NUM_EXPLAINED_CLASSES, self.num_classes) if classes is None else len(classes))

    def open_explain(self) -> None:
        """Open the model once more, for explanations, unless it is open."""
        with self._opening:
            if self._explainer is None:
                backend, device = self._options["backend"], self._options["device"]
                explainer = Explainer.from_checkpoint(self._source, backend=backend, device=device, unknown=False)
                self._check_unchanged()
                self._explainer = explainer

    def _check_unchanged(self) -> None:
        """Check that what is opened now is the model that answers. Raises CheckpointError."""
        if _identity(self._source).model != self.identity:
            raise CheckpointError(MODEL_CHANGED)

    def answer(self, outputs: NDArray[np.float32], top_k: int) -> dict[str, Any]:
        """Return what /predict answers for a photo: the labels of `Predictor.predict`, best first."""
        prediction = self._predictor.prediction("photo", outputs, top_k)
        unknown = {"unknown": True} if prediction.is_unknown else {}
        return {"labels": list(prediction.labels), **unknown}

    def _info(self, identity: "_Identity") -> dict[str, Any]:
        description = self._model.description
        return {
            "allmlp": __version__,
            "classes": list(description.class_names),
            "num_features": self.num_features,
            "image_size": list(description.config.image_size),
            "preprocessing": dataclasses.asdict(description.preprocessing),
            "temperature": description.temperature,
            "explain": self.explains,
            "weights_sha256": identity.weights_sha256,
            "weights_precision": identity.precision,
            **self._options,
            "backend": self._model.backend,
            **({"remark": self.remark} if self.remark else {}),
        }


class _Identity(NamedTuple):
    """Digests of all that answers depend on, and of the weights, which an export shares with its checkpoint; the precision."""

    model: str
    weights_sha256: str
    precision: str


def _identity(source: str | Path | Checkpoint) -> _Identity:
    if isinstance(source, Checkpoint) or export_kind(source) is None:
        arrays = as_arrays(source) if isinstance(source, Checkpoint) else load_arrays(source)
        digest = weights_digest(arrays.weights)
        info = ExportInfo(description=arrays.description, precision="float32", weights_sha256=digest)
    else:
        info = open_export(source).info
    values = {**dataclasses.asdict(info), "description": info.description.to_json_object()}
    del values["description"]["source"]  # words about its origin
    hashed = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    return _Identity(hashed.hexdigest(), info.weights_sha256, info.precision)


def _identity_before(source: str | Path | Checkpoint) -> _Identity | None:
    """Return the identity of a source that is to be opened; None if it is unusable, for which opening it has better words."""
    try:
        return _identity(source)
    except AllmlpError:
        return None


def _finite(outputs: NDArray[np.float32]) -> Sequence[Any]:
    """Return outputs as a list of rows. Raises ValueError if they are not finite, which JSON cannot say."""
    if not np.isfinite(outputs).all():
        raise ValueError("the model returned values that are not finite")
    return list(outputs)
