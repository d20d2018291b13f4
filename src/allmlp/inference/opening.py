"""`open_model`: a runnable model from any source."""

from dataclasses import replace
from pathlib import Path

from allmlp.checkpoints import Checkpoint, PreprocessingChanges
from allmlp.errors import ConfigError, did_you_mean
from allmlp.inference.backends.registry import choose_backend
from allmlp.inference.runnable import Output, RunnableModel
from allmlp.io.display import quote

__all__ = ["open_model"]

_OUTPUTS = ("logits", "features")


def open_model(
    source: str | Path | Checkpoint,
    *,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    output: Output = "logits",
    preprocessing: PreprocessingChanges | None = None,
) -> RunnableModel:
    """Open a model for inference.

    Args:
        source: a path or a name, as `load_checkpoint` takes it, a `Checkpoint`, or the file of an export.
        backend: a name in `BACKENDS`; "auto" takes the first one that opens the source and is installed: "eager" for
            checkpoints, "onnxruntime" or "openvino" for exports, which need no torch.
        device: "auto", "cpu", "cuda" or "mps"; only "eager" and "compiled" compute on another device than the
            CPU.
        precision: of the matrix products, "float32" or "bfloat16" (not "onnxruntime"); "auto" is float32.
        output: "logits" (B, K), or "features" (B, C): the mean over tokens before the classifier.
        preprocessing: overrides the source's, as in `load_checkpoint`.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: not a source, an unknown backend, precision or output, an unavailable device, or an invalid
            pre-processing.
        MissingExtraError: a library of the backend is not installed.
    """
    if output not in _OUTPUTS:
        raise ConfigError(f"output is {output!r}; expected 'logits' or 'features'.{did_you_mean(output, _OUTPUTS)}")
    for name, value in (("backend", backend), ("device", device), ("precision", precision)):
        if not isinstance(value, str):
            raise ConfigError(f"{name} is {quote(value)}; expected a name, such as 'auto'.")
    model = choose_backend(backend, source).open(source, device, precision, output)
    if preprocessing is None:
        return model
    return replace(model, description=model.description.with_preprocessing(preprocessing))
