"""`open_model`: a runnable model from any source."""

from dataclasses import replace
from pathlib import Path

from allmlp.checkpoints import Checkpoint, PreprocessingChanges
from allmlp.errors import ConfigError, did_you_mean
from allmlp.exports import export_kind, open_export
from allmlp.hardware.devices import choose_device
from allmlp.inference.backends.registry import BACKENDS, choose_backend, usable_backends
from allmlp.inference.runnable import Output, RunnableModel
from allmlp.inference.tuned import has_tuned, read_tuned
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
    exact: bool = False,
) -> RunnableModel:
    """Open a model for inference.

    Args:
        source: a path or a name, as `load_checkpoint` takes it, a `Checkpoint`, or the file of an export.
        backend: a name in `BACKENDS`; "auto" takes the one that `allmlp bench --tune` found to be the fastest for this shape
            on this machine. Untuned, it takes the first one that opens the source and is installed: "eager" for checkpoints
            and .pt2 files, "onnxruntime" or "openvino" for other exports, which need no torch.
        device: "auto", "cpu", "cuda" or "mps"; only "eager" and "compiled" compute on another device than the
            CPU.
        precision: of the matrix products, "float32" or "bfloat16" (not "onnxruntime"); "auto" is float32, or that of an export.
        output: "logits" (B, K), or "features" (B, C): the mean over tokens before the classifier.
        preprocessing: overrides the source's, as in `load_checkpoint`, and the pixels in the graph of an export.
        exact: whether an image's output is to be the same in any batch on a GPU, too, where that costs speed and is not tested.
            On a CPU, it always is.

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
    remark = ""
    if backend == "auto" and device in ("auto", "cpu") and precision in ("auto", "float32") and has_tuned():
        backend, remark, source = _tuned_backend(source, device)
    chosen = choose_backend(backend, source)
    open_it = chosen.open_exact if exact and chosen.open_exact is not None else chosen.open
    name = next(name for name, each in BACKENDS.items() if each is chosen)
    model = replace(open_it(source, device, precision, output), backend=name, remark=remark)
    if preprocessing is None:
        return model
    return replace(model, description=model.description.with_preprocessing(preprocessing), pixels=None)


def _tuned_backend(source: str | Path | Checkpoint, device: str) -> tuple[str, str, str | Path | Checkpoint]:
    """Return the backend that was measured to be the fastest here, or "auto"; why; and the source, loaded if needed."""
    usable = usable_backends(source)
    if not usable:
        return "auto", "", source
    if export_kind(source) is not None:
        assert not isinstance(source, Checkpoint)
        info = open_export(source).info
        config, weights = info.description.config, info.precision
    else:
        from allmlp.checkpoints import load_checkpoint  # with all its formats, which an export does not need

        source = source if isinstance(source, Checkpoint) else load_checkpoint(source)
        config, weights = source.config, "float32"
        if choose_device(device) != "cpu":
            return "auto", "", source
    tuned = read_tuned(config, weights)
    if tuned is None or isinstance(tuned, str):
        return "auto", tuned or "", source
    measured = [name for name in tuned.seconds_per_image if name in usable]
    # A tuned export may have left out the default, for it was of another format: then nothing is faster than it.
    if usable[0] not in measured or measured[0] == usable[0]:
        return "auto", "", source
    times = ", ".join(f"{name} {1000 * tuned.seconds_per_image[name]:.3g}" for name in measured)
    why = f"the fastest here by allmlp bench --tune of {tuned.measured} (ms per photo: {times})"
    return measured[0], f"Backend {measured[0]}: {why}.", source
