"""Inference: `open_model` makes a model runnable, `Predictor` returns labels, `Embedder` returns features.

Safe to change: `photos` (the accepted forms of a photo), `predictor`, `embedder`, `sort_photos`, `speed`.
Invariants: everything here takes a `RunnableModel`; only backends/ knows how a forward is computed.
To add one: a runtime is a file in backends/ and a line in `BACKENDS`.
"""

from allmlp.inference.backends.eager import eager_forward
from allmlp.inference.backends.micro_batches import sizes_tested_at_once
from allmlp.inference.backends.registry import BACKENDS, Backend, check_installed, choose_backend
from allmlp.inference.embedder import Embedder
from allmlp.inference.engine_settings import EngineSettings
from allmlp.inference.nearest import nearest
from allmlp.inference.opening import open_model
from allmlp.inference.photo_folder import photos_in_folder
from allmlp.inference.photos import Photo, StoredPhoto, as_iterable, as_photos, loaded_photos, raise_unreadable
from allmlp.inference.prediction import Prediction, Predictions, ScoredLabel
from allmlp.inference.predictor import Predictor
from allmlp.inference.runnable import Output, RunnableModel, check_finite
from allmlp.inference.sort_photos import PhotoSorter, check_sort_folder
from allmlp.inference.speed import Speed, measure_speed
from allmlp.inference.tuned import Tuned, check_tunable, read_tuned, tuned_as, write_tuned

__all__ = [
    "BACKENDS",
    "Backend",
    "Embedder",
    "EngineSettings",
    "Output",
    "Photo",
    "PhotoSorter",
    "Prediction",
    "Predictions",
    "Predictor",
    "RunnableModel",
    "ScoredLabel",
    "Speed",
    "StoredPhoto",
    "Tuned",
    "as_iterable",
    "as_photos",
    "check_finite",
    "check_installed",
    "check_sort_folder",
    "check_tunable",
    "choose_backend",
    "eager_forward",
    "loaded_photos",
    "measure_speed",
    "nearest",
    "open_model",
    "photos_in_folder",
    "raise_unreadable",
    "read_tuned",
    "sizes_tested_at_once",
    "tuned_as",
    "write_tuned",
]
