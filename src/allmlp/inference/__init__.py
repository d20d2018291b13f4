"""Using a checkpoint: what runs it (backends) and what answers with labels (`Predictor`)."""

from allmlp.evaluation import Forward
from allmlp.inference.backends import BACKENDS, eager_forward
from allmlp.inference.predictor import Photo, Prediction, Predictor, ScoredLabel

__all__ = ["BACKENDS", "Forward", "Photo", "Prediction", "Predictor", "ScoredLabel", "eager_forward"]
