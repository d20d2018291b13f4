"""What the backends for exports share: their sources, their errors, and the checks of options and outputs."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, as_arrays, load_arrays
from allmlp.errors import AllmlpError, CheckpointError, ConfigError
from allmlp.exports import Export, ExportInfo, QuantisationNote, export_kind, onnx_bytes, open_export, parse_onnx
from allmlp.hardware.num_compute_threads import asked_threads, num_compute_threads
from allmlp.hardware.num_decoding_threads import usable_cores
from allmlp.hardware.processor import has_exact_int8
from allmlp.inference.backends.micro_batches import LARGEST_MICRO_BATCH, MICRO_BATCH_SIZES
from allmlp.inference.engine_settings import MAX_STREAMS, EngineSettings
from allmlp.inference.runnable import Output
from allmlp.inference.tuned import Tuned, has_tuned, read_tuned, tuned_as
from allmlp.io.display import escape, quote, shorten
from allmlp.metrics import Forward
from allmlp.model import MixerConfig

_CACHED_BYTES = 4 << 20
_NO_MEMORY = ("bad_alloc", "bad allocation", "allocate memory", "out of memory")  # in the messages of engines
_ADVICE = {
    "bfloat16": " The backends eager, compiled and openvino have it.",
    "int8": " int8 is in the file: allmlp export CHECKPOINT --precision int8 --calibrate PHOTOS writes one.",
}

__all__ = [
    "check_integers",
    "check_options",
    "check_processor",
    "engine_errors",
    "forwards",
    "is_openable",
    "joined",
    "loaded_arrays",
    "opened",
    "resolved_settings",
    "settings_to_try",
    "usual_settings",
    "value_widths",
]


def resolved_settings(settings: EngineSettings | None, backend: str, info: ExportInfo) -> EngineSettings:
    """Return the settings of an engine, with a number of threads, and no more streams than these.

    None takes those that `allmlp bench --tune` found for this backend, shape and precision on this machine; for an int8 file
    that was not tuned, those of float32; else the usual ones, `usual_settings`.
    """
    chosen = settings
    for precision in (tuned_as(info), "float32"):
        if chosen is None and has_tuned():
            tuned = read_tuned(info.description.config, precision)
            chosen = tuned.settings.get(backend) if isinstance(tuned, Tuned) else None
    chosen = usual_settings(backend, info.description.config) if chosen is None else chosen
    num_threads = num_compute_threads() if chosen.num_threads is None else chosen.num_threads
    return replace(chosen, num_threads=num_threads, num_streams=min(chosen.num_streams, num_threads))


def usual_settings(backend: str, config: MixerConfig) -> EngineSettings:
    """Return the settings of an engine that was not tuned for this shape.

    ONNX Runtime is fastest if what the widest layer writes for a micro-batch, in float32, stays in the processor's caches:
    two images of a Mixer-S/16, sixteen of the starter. OpenVINO hardly depends on it.
    """
    if backend != "onnxruntime":
        return EngineSettings()
    widest = 4 * max(config.num_tokens * config.channels_mlp_dim, config.hidden_dim * config.tokens_mlp_dim)
    sizes = [
        size for size in MICRO_BATCH_SIZES if size <= LARGEST_MICRO_BATCH["cpu"] and size * widest <= _CACHED_BYTES
    ]
    return EngineSettings(largest_micro_batch=max(sizes, default=1))


def settings_to_try(*, is_small: bool, spins: bool = False, first: int = 16) -> list[EngineSettings]:
    """Return the settings of an engine that tuning compares, those that promise most first.

    Of a large Mixer, few settings can be tried in the time; `first` is the size of micro-batches to begin with.
    """
    num_threads = num_compute_threads()
    streams = tuple(dict.fromkeys((1, min(num_threads, MAX_STREAMS))))
    kinds = [(size, count) for count in streams for size in (16, 4, 1, 32)]
    if not is_small:
        kinds = [(first, 1), (1, streams[-1]), (4, 1), (16, 1), (16, streams[-1])]
    found = [EngineSettings(largest_micro_batch=size, num_streams=count) for size, count in dict.fromkeys(kinds)]
    if spins:
        found.append(EngineSettings(spins=True))
    # Whoever set another number of threads than the usual one gets no more.
    is_usual = asked_threads() is None and num_threads == usable_cores(physical=True)
    if is_usual and (logical := usable_cores()) > num_threads:
        found.append(EngineSettings(num_threads=logical))
    return found


def is_openable(source: object) -> bool:
    """Return whether a source is a path, a name or a checkpoint."""
    return isinstance(source, str | os.PathLike | Checkpoint | ArrayCheckpoint)


def check_options(backend: str, device: str, precision: str, precisions: Sequence[str] = ("float32",)) -> None:
    """Check that the device is the CPU, and the precision one of `precisions` or "auto".

    Raises:
        ConfigError: it is another one.
    """
    if device not in ("auto", "cpu"):
        raise ConfigError(
            f"device is {quote(device)}, but the backend {backend} computes on the CPU: use 'auto' or 'cpu'."
        )
    if precision not in ("auto", *precisions):
        known = " and ".join(f"'{name}'" for name in precisions)
        advice = _ADVICE.get(precision, "")
        raise ConfigError(f"precision is {quote(precision)}, but the backend {backend} computes in {known}.{advice}")


def loaded_arrays(source: str | Path | Checkpoint | ArrayCheckpoint) -> ArrayCheckpoint:
    """Return the weights of a checkpoint in NumPy, without torch if they are in safetensors.

    Raises:
        CheckpointError: nothing usable at `source`.
    """
    if isinstance(source, ArrayCheckpoint):
        return source
    return as_arrays(source) if isinstance(source, Checkpoint) else load_arrays(source)


def opened(source: str | Path | Checkpoint | ArrayCheckpoint, import_engine: Callable[[], object]) -> Export:
    """Return an export; a checkpoint is written as ONNX in memory. The engine is imported meanwhile, in a thread.

    Reading a large file, and the SHA-256 of its content, need no interpreter lock and take as long as the import.

    Raises:
        CheckpointError: nothing usable at `source`.
        MissingExtraError: the engine is not installed; or a checkpoint, and onnx is not installed.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        imported = pool.submit(import_engine)
        export = _export_of(source)
        imported.result()  # its error is that of the import
    return export


def _export_of(source: str | Path | Checkpoint | ArrayCheckpoint) -> Export:
    if export_kind(source) is not None:
        assert not isinstance(source, Checkpoint | ArrayCheckpoint)
        export = open_export(source)
        check_processor(export.info.quantisation, source)
        return export
    model = loaded_arrays(source)
    return parse_onnx(onnx_bytes(model), where=model.description.source)


def check_processor(note: QuantisationNote | None, source: object) -> None:
    """Refuse an 8-bit file on a processor on which its sums saturate.

    Raises:
        ConfigError: this processor has neither VNNI nor AMX.
    """
    if note is not None and note.needs_vnni and not has_exact_int8():
        raise ConfigError(
            f"{shorten(escape(source), 300)}: its 8-bit weights need a processor with VNNI (avx512_vnni, avx_vnni or "
            "amx_int8), and this one has none: its sums would overflow, and its answers would be wrong. Use a file that was "
            "exported with --portable, the default, or the checkpoint."
        )


def check_integers(precision: str, info: ExportInfo, source: object) -> None:
    """Refuse a named precision for an export that multiplies integers.

    Raises:
        ConfigError: `precision` is not "auto", and the products of some layers are integers.
    """
    note = info.quantisation
    if precision != "auto" and note is not None and note.num_integer_layers:
        raise ConfigError(
            f"{shorten(escape(source), 300)}: an int8 export, which multiplies integers, but precision is {quote(precision)}. "
            "Omit it, or use the checkpoint or a float32 export."
        )


@contextlib.contextmanager
def engine_errors(engine: str, source: object) -> Iterator[None]:
    """Turn any exception of an engine into a CheckpointError: each has types of its own, and a source may be untrusted.

    Raises:
        MemoryError: there was too little memory.
        CheckpointError: the block raised another exception that is not an AllmlpError.
    """
    try:
        yield
    except AllmlpError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY):
            raise MemoryError(f"{engine}: {shorten(escape(error), 300)}") from error
        raise CheckpointError(
            f"{shorten(escape(source), 300)}: {engine} cannot run it ({shorten(escape(error), 300)}). Export the checkpoint "
            "again."
        ) from error


def value_widths(config: MixerConfig, output: Output) -> dict[str, int]:
    """Return the names and widths of the values to compute for an output: with logits also the features, which cost nothing."""
    features = {"features": config.hidden_dim}
    return features if output == "features" or not config.num_classes else {"logits": config.num_classes, **features}


def joined(values: Iterable[NDArray[np.float32]], num_images: int, widths: Mapping[str, int]) -> NDArray[np.float32]:
    """Return the values of a batch next to each other: (B, sum of `widths`).

    Raises:
        ValueError: one has another shape or type than the description says.
    """
    values = list(values)
    for value, width in zip(values, widths.values(), strict=True):
        if value.shape != (num_images, width) or value.dtype != np.float32:
            raise ValueError(f"its outputs are {value.dtype} {value.shape}, not float32 {(num_images, width)}")
    return np.concatenate(values, axis=1)


def forwards(joined_values: Forward, widths: Mapping[str, int]) -> tuple[Forward, Callable[[], Forward] | None]:
    """Return the forward of a model, and its `with_features`, of a forward to the values next to each other."""
    if len(widths) == 1:
        return joined_values, None
    num_classes = widths["logits"]
    return lambda images: np.ascontiguousarray(joined_values(images)[:, :num_classes]), lambda: joined_values
