"""Models that return what each patch contributes to each logit, on any backend."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, ModelDescription, PreprocessingChanges, load_checkpoint
from allmlp.data import Preparation
from allmlp.errors import ConfigError
from allmlp.explanations.engines import (
    PatchReading,
    read_in_litert,
    read_in_onnx_runtime,
    read_in_openvino,
    read_in_torch,
)
from allmlp.exports import TorchExport, export_kind, open_export
from allmlp.inference import BACKENDS, Predictor, choose_backend, open_model

__all__ = ["ContributionModel", "Contributions", "gives_contributions", "open_contributions"]

READERS: Mapping[str, Callable[[str | Path | Checkpoint, str], PatchReading]] = {
    "eager": read_in_torch,
    "compiled": read_in_torch,
    "onnxruntime": read_in_onnx_runtime,
    "openvino": read_in_openvino,
    "litert": read_in_litert,
}
"""By the name of a backend: opens a source on a device."""


class Contributions(NamedTuple):
    """What a model says about B images.

    Attributes:
        values: (B, S, K) float32, of each patch to each logit.
        logits: (B, K) float32: the bias + the sum over the patches.
        blocks: (B, N, K) float32: the logits if the final LayerNorm and the classifier followed each block; None if the
            backend does not compute them.
    """

    values: NDArray[np.float32]
    logits: NDArray[np.float32]
    blocks: NDArray[np.float32] | None


@dataclass(frozen=True)
class ContributionModel:
    """A model that is ready to be explained.

    Attributes:
        reading: computes the contributions of pre-processed images.
        bias: (K,) float32, of the classifier.
        description: the model without its weights.
        preparation: what makes images of photos.
        predictor: answers which photos are "unknown"; None for a model without a threshold.
    """

    reading: PatchReading
    bias: NDArray[np.float32]
    description: ModelDescription
    preparation: Preparation
    predictor: Predictor | None = None

    def compute(self, images: NDArray[np.float32]) -> Contributions:
        """Return the contributions of images (B, 3, H, W), pre-processed."""
        values, blocks = self.reading(images)
        logits = (self.bias + values.sum(axis=1, dtype=np.float64)).astype(np.float32)
        return Contributions(values, logits, blocks)

    def are_unknown(self, prepared: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
        """Return for each of B photos, as `preparation.resize` returned them, whether it is of none of the classes."""
        margins = None if self.predictor is None else self.predictor.known_margin(self.predictor.outputs(prepared))
        return np.zeros(len(prepared), np.bool_) if margins is None else margins < 0


def gives_contributions(source: str | Path | Checkpoint, backend: str = "auto") -> bool:
    """Return whether `open_contributions` can open a source that `open_model` opened with this backend."""
    return _backend_name(source, backend) in READERS


def open_contributions(
    source: str | Path | Checkpoint,
    *,
    backend: str = "auto",
    device: str = "auto",
    preprocessing: PreprocessingChanges | None = None,
    unknown: bool = True,
) -> ContributionModel:
    """Open a model to be explained; the arguments are those of `open_model`, and float32 is the precision.

    `unknown` False leaves out the threshold of "unknown".

    Raises:
        CheckpointError, ConfigError, MissingExtraError: as `open_model`.
        ConfigError: the model has no classes, or the backend gives no contributions.
    """
    name = _backend_name(source, backend)
    if name not in READERS:
        raise ConfigError(f"The backend {name} gives no contributions of patches. Use {' or '.join(READERS)}.")
    if name in ("eager", "compiled"):
        source = _loaded(source)  # once, for both readings
    model = open_model(
        source, backend="eager" if name == "compiled" else name, device=device, preprocessing=preprocessing
    )
    description = model.description
    config = description.config
    if not config.num_classes:
        raise ConfigError("This checkpoint has no classifier (num_classes is 0), so there is no answer to explain.")
    reading = READERS[name](source, device)
    # The classifier's bias is what the logits of any image exceed its contributions by. Engines do not hand out weights.
    blank = np.zeros((1, 3, *config.image_size), np.float32)
    values, _ = reading(blank)
    bias = (model.forward(blank)[0] - values[0].sum(axis=0, dtype=np.float64)).astype(np.float32)
    predictor = Predictor(model) if unknown and description.unknown is not None else None
    return ContributionModel(reading, bias, description, model.preparation, predictor)


def _backend_name(source: str | Path | Checkpoint, backend: str) -> str:
    chosen = choose_backend(backend, source)
    return next(name for name, candidate in BACKENDS.items() if candidate is chosen)


def _loaded(source: str | Path | Checkpoint) -> Checkpoint:
    """Return a checkpoint; of a .pt2 file, the weights are read, and the program is not run."""
    if isinstance(source, Checkpoint):
        return source
    if export_kind(source) is None:
        return load_checkpoint(source)
    export = open_export(source)
    assert isinstance(export, TorchExport)
    return export.checkpoint()
