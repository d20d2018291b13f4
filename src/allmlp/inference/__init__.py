"""Using a checkpoint: what runs it (backends), what answers with labels (`Predictor`) and with features (`Embedder`)."""

from allmlp.inference.backends.eager import BACKENDS, eager_forward
from allmlp.inference.embedder import Embedder, features_forward
from allmlp.inference.photos import Photo
from allmlp.inference.predictor import Prediction, Predictor, ScoredLabel
from allmlp.metrics import Forward

__all__ = [
    "BACKENDS",
    "Embedder",
    "Forward",
    "Photo",
    "Prediction",
    "Predictor",
    "ScoredLabel",
    "eager_forward",
    "features_forward",
]
