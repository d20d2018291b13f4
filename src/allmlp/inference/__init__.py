"""Inference: `open_model` makes a model runnable, `Predictor` returns labels, `Embedder` returns features.

Safe to change: `photos` (the accepted forms of a photo), `predictor`, `embedder`.
Invariants: everything here takes a `RunnableModel`; only backends/ knows how a forward is computed.
To add one: a runtime is a file in backends/ and a line in `BACKENDS`.
"""

from allmlp.inference.backends.eager import eager_forward
from allmlp.inference.backends.registry import BACKENDS, Backend
from allmlp.inference.embedder import Embedder
from allmlp.inference.opening import open_model
from allmlp.inference.photos import Photo
from allmlp.inference.predictor import Prediction, Predictor, ScoredLabel
from allmlp.inference.runnable import Output, RunnableModel

__all__ = [
    "BACKENDS",
    "Backend",
    "Embedder",
    "Output",
    "Photo",
    "Prediction",
    "Predictor",
    "RunnableModel",
    "ScoredLabel",
    "eager_forward",
    "open_model",
]
