"""`open_model`: a runnable model from any source."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, PreprocessingChanges, dropped_threshold
from allmlp.errors import ConfigError, did_you_mean
from allmlp.exports import ExportInfo, export_kind, stated_info
from allmlp.hardware.devices import choose_device
from allmlp.inference.backends.engine_table import measured_engines
from allmlp.inference.backends.registry import BACKENDS, choose_backend, usable_backends
from allmlp.inference.runnable import Output, RunnableModel
from allmlp.inference.tuned import Tuned, has_tuned, read_tuned, tuned_as
from allmlp.io.display import quote
from allmlp.io.path_problem import path_text

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
        backend: a name in `BACKENDS`; "auto" takes, of those that are installed and compute in this precision, the one that
            `allmlp bench --tune` found to be the fastest for this shape on this machine. Untuned, it takes "eager" for
            checkpoints and .pt2 files. For other exports, which need no torch, it takes the engine that was measured to be the
            fastest on such a processor, else "onnxruntime" before "openvino". `RunnableModel.remark` says why.
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
    choice = _Choice(backend, "", source)
    if backend == "auto":
        choice = _choice(source, device, precision)
    chosen = choose_backend(choice.backend, choice.source, precision)
    open_it = chosen.open_exact if exact and chosen.open_exact is not None else chosen.open
    name = next(name for name, each in BACKENDS.items() if each is chosen)
    model = replace(open_it(choice.source, device, precision, output), backend=name, remark=choice.remark)
    if preprocessing is None:
        return model
    description = model.description.with_preprocessing(preprocessing)
    remark = " ".join(filter(None, (model.remark, dropped_threshold(model.description, description))))
    return replace(model, description=description, remark=remark, pixels=None)


class _Choice(NamedTuple):
    """What "auto" stands for: a backend, or "auto" if opening will fail; why; and the source, loaded if need be."""

    backend: str
    remark: str
    source: str | Path | Checkpoint


def _choice(source: str | Path | Checkpoint, device: str, precision: str) -> _Choice:
    # "compiled" takes minutes to start, and is never taken by itself.
    usable = [name for name in usable_backends(source, precision) if name != "compiled"]
    if not usable:
        return _Choice("auto", "", source)
    if len(usable) == 1:
        (name,) = usable
        in_precision = "" if precision == "auto" else f" in {precision}"
        why = f"Backend {name}: the only one installed that opens this{in_precision}."
        return _Choice(name, "" if name == "eager" else why, source)
    is_export = export_kind(source) is not None  # in ONNX: each other kind has one backend
    info = stated_info(Path(path_text(source) or "")) if is_export else None
    if is_export and info is None:
        return _Choice(usable[0], "", source)
    remarks = []
    if device in ("auto", "cpu") and precision in ("auto", "float32") and has_tuned():
        source = source if info is not None else _loaded(source)
        tuned = _tuned(source, info, usable, device)
        if isinstance(tuned, _Choice):
            return tuned
        remarks = [tuned] if tuned else []
    name, why = _untuned(usable, info)
    remarks += [f"Backend {name}: {why}."] if why else []
    return _Choice(name, " ".join(remarks), source)


def _loaded(source: str | Path | Checkpoint) -> Checkpoint:
    from allmlp.checkpoints import load_checkpoint  # with all its formats, which an export does not need

    return source if isinstance(source, Checkpoint | ArrayCheckpoint) else load_checkpoint(source)


def _tuned(
    source: str | Path | Checkpoint, info: ExportInfo | None, usable: list[str], device: str
) -> _Choice | str | None:
    """Return the backend that was measured to be the fastest here; a sentence if the measurement is unusable, None without."""
    if info is not None:
        config, weights = info.description.config, tuned_as(info)
    else:
        assert isinstance(source, Checkpoint | ArrayCheckpoint)
        config, weights = source.description.config, "float32"
        if usable[0] == "eager" and choose_device(device) != "cpu":
            return None
    tuned = read_tuned(config, weights)
    if not isinstance(tuned, Tuned):
        return tuned
    measured = [name for name in tuned.seconds_per_image if name in usable]
    # A tuned export may have left out the default, for it was of another format: then nothing is faster than it.
    if usable[0] not in measured:
        return None
    times = ", ".join(f"{name} {1000 * tuned.seconds_per_image[name]:.3g}" for name in measured)
    why = f"the fastest here by allmlp bench --tune of {tuned.measured} (ms per photo: {times})"
    return _Choice(measured[0], f"Backend {measured[0]}: {why}.", source)


def _untuned(usable: list[str], info: ExportInfo | None) -> tuple[str, str]:
    """Return the backend that is taken without a measurement on this machine, and why; "" for PyTorch, as documented."""
    if info is None:
        return usable[0], "" if usable[0] == "eager" else "the first of the engines that are installed"
    if info.precision != "float32":
        return usable[0], f"the default for {info.precision} files"
    measured = measured_engines(info.description.config)
    if measured is None or not all(name in measured.seconds for name in usable):
        return usable[0], "the default for exports; allmlp's table has no measurement of this size on such a processor"
    name = min(usable, key=measured.seconds.__getitem__)
    size = f"Mixers of about {measured.gflop_per_image:.2g} GFLOP per photo"
    return name, f"the fastest by allmlp's table for {measured.vectors} and {size}"
