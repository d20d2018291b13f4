"""Exports in every precision: `allmlp.export`, and `write_export`, which it and the command `allmlp export` call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, load_checkpoint
from allmlp.errors import ConfigError, did_you_mean
from allmlp.exports import (
    PAGE_MODEL,
    BrowserRuntime,
    Pixels,
    Quantisation,
    QuantisationNote,
    check_format_pixels,
    check_runtime_option,
    default_name,
    export_format,
    new_export_file,
    onnx_bytes,
    read_browser_runtime,
    write_float_export,
    write_openvino,
    write_page,
)
from allmlp.hardware.processor import has_exact_int8
from allmlp.inference import choose_backend
from allmlp.io.atomic_write import write_bytes
from allmlp.io.display import Progress, Report, discard, no_progress, quote
from allmlp.quantisation.judging import divide_photos
from allmlp.quantisation.search import ATTEMPTS, DEFAULT_AGREEMENT, Attempt, Int8Export, search

__all__ = ["WrittenExport", "check_export_options", "export", "export_int8", "write_export"]


def _write_onnx(
    model: ArrayCheckpoint, path: Path, plan: Quantisation, note: QuantisationNote, pixels: Pixels = "out"
) -> None:
    write_bytes(path, onnx_bytes(model, plan, note, pixels=pixels))


def _write_openvino(model: ArrayCheckpoint, path: Path, plan: Quantisation, note: QuantisationNote) -> None:
    write_openvino(onnx_bytes(model, plan, note), path)


def _write_web(
    model: ArrayCheckpoint, path: Path, plan: Quantisation, note: QuantisationNote, runtime: BrowserRuntime
) -> None:
    write_page(model, path, runtime, plan, note)


_PRECISIONS = ("float32", "bfloat16", "int8")

_WRITERS: Mapping[str, Callable[..., None]] = {"onnx": _write_onnx, "openvino": _write_openvino, "web": _write_web}
"""They take `pixels`, too, if the format has several, and `runtime` if it is a page."""


@dataclass(frozen=True, kw_only=True)
class WrittenExport:
    """An export that was written: its file or folder, and for int8 the attempts and what the file says about itself."""

    path: Path
    int8: Int8Export | None = None


def export(
    source: str | Path | Checkpoint | ArrayCheckpoint,
    *,
    to: str = "onnx",
    out: str | Path | None = None,
    pixels: str | None = None,
    precision: str = "float32",
    calibrate: str | Path | None = None,
    agreement: float | None = None,
    portable: bool | None = None,
    runtime: str | Path | BrowserRuntime | None = None,
) -> Path:
    """Write a checkpoint for another engine, with its class names and pre-processing inside, and return the file or folder.

    The same checkpoint gives the same bytes. `open_model` opens the result, without torch but for "torch"; of a page, it opens
    the file model.onnx.

    Args:
        source: a path or a name, as `load_checkpoint` takes it, or a checkpoint.
        to: "onnx" (one file), "openvino" (an .xml file and a .bin file), "torch" (a .pt2 file of torch.export), "litert" (a
            .tflite file), or "web" (a folder with a page that answers in the browser).
        out: a new file, whose name ends in .onnx, .xml, .pt2 or .tflite, or for "web" a new folder; None takes the source's
            name, in the current folder.
        pixels: where photos become the model's images. "out": the input is pre-processed images, float32 (B, 3, H, W). "in": it
            is decoded RGB photos of any size, uint8 (B, h, w, 3), resized and normalised in the graph, nearly as
            `Preprocessing` does. "exact": the same, bit for bit, in float64. Both only in ONNX. None means "out", and "in" for
            "web", which has nothing else.
        precision: "float32"; "bfloat16" for "torch"; or "int8" (`export_int8`) for "onnx", "openvino" and "web", which needs
            photos.
        calibrate: for int8, photos such as the model is for: some hundreds, a data set or a folder.
        agreement: for int8, the share of photos that must keep their class; None means 0.99.
        portable: for int8, whether the file runs on any processor; None means True.
        runtime: for "web", the npm package onnxruntime-web: a folder or a .tgz file, or what `read_browser_runtime` returned;
            None means node_modules/onnxruntime-web.

    Raises:
        CheckpointError: nothing usable at `source`.
        CheckFailedError: int8 changes the class of more photos than `agreement` allows; nothing is written.
        ConfigError: an unknown format, a file that exists, one that cannot be written, or pixels that the format does not have.
        DataError: no photos at `calibrate`.
        MissingExtraError: a library of the format or, for int8, an engine is not installed.
    """
    return write_export(
        source,
        to=to,
        out=out,
        pixels=pixels,
        precision=precision,
        calibrate=calibrate,
        agreement=agreement,
        portable=portable,
        runtime=runtime,
    ).path


def write_export(
    source: str | Path | Checkpoint | ArrayCheckpoint,
    *,
    to: str,
    out: str | Path | None,
    pixels: str | None,
    precision: str,
    calibrate: str | Path | None,
    agreement: float | None,
    portable: bool | None,
    runtime: str | Path | BrowserRuntime | None,
    report: Report = discard,
    progress: Progress = no_progress,
) -> WrittenExport:
    """Write an export as `export` does, with the same arguments and errors, and return what is known of it.

    `report` takes lines about the attempts at int8, and `progress` the number of answers so far and the total.
    """
    check_export_options(to, precision, calibrate, agreement, portable)
    check_runtime_option(runtime, to)
    if precision != "int8":
        return WrittenExport(
            path=write_float_export(source, to=to, out=out, pixels=pixels, precision=precision, runtime=runtime)
        )
    assert calibrate is not None
    if isinstance(source, ArrayCheckpoint):
        raise ConfigError("source is an ArrayCheckpoint; int8 needs a Checkpoint, a path or a name.")
    written = export_int8(
        source,
        calibrate,
        to=to,
        out=out,
        pixels=pixels,
        agreement=DEFAULT_AGREEMENT if agreement is None else agreement,
        portable=portable is not False,
        runtime=runtime,
        report=report,
        progress=progress,
    )
    return WrittenExport(path=written.path, int8=written)


def check_export_options(
    to: str, precision: object, calibrate: object, agreement: object, portable: object, dash: str = ""
) -> None:
    """Check options against each other; `dash` stands before the names of options in messages. Raises ConfigError."""
    form = export_format(to)
    if precision not in _PRECISIONS:
        hint = did_you_mean(precision, _PRECISIONS) if isinstance(precision, str) else ""
        raise ConfigError(f"{dash}precision is {quote(precision)}; expected one of {', '.join(_PRECISIONS)}.{hint}")
    if precision == "bfloat16" and precision not in form.precisions:
        advice = "Export in float32, or to torch."
        if to in ("onnx", "openvino"):
            advice = (
                "An engine computes in it when it runs a float32 file: export in float32, and run it with --backend openvino "
                "--precision bfloat16; or export to torch."
            )
        raise ConfigError(f"{dash}precision is 'bfloat16', which {to} files do not have. {advice}")
    given = {"calibrate": calibrate, "agreement": agreement, "portable": portable}
    if precision != "int8":
        if unused := [f"{dash}{name}" for name, value in given.items() if value is not None]:
            raise ConfigError(f"{' and '.join(unused)} would have no effect in {precision}; use {dash}precision int8.")
        return
    if to not in _WRITERS:
        *others, last = _WRITERS
        raise ConfigError(f"{dash}precision int8 is for {', '.join(others)} and {last}, not for {quote(to)}.")
    if calibrate is None:
        raise ConfigError(
            f"{dash}precision int8 needs {dash}calibrate with some hundreds of photos such as the model is for: they set the "
            "ranges of the layers, and measure how many keep their class."
        )
    if agreement is not None and not (isinstance(agreement, int | float) and 0.0 <= agreement <= 1.0):
        raise ConfigError(f"{dash}agreement is {quote(agreement)}; expected a share of the photos, such as 0.99.")
    if portable is False and form.is_page:
        raise ConfigError(f"Without {dash}portable, the model needs a processor with VNNI, and a page is for any.")
    if portable is False and not has_exact_int8():
        raise ConfigError(
            f"Without {dash}portable, the file needs a processor with VNNI, and this one has none, so that it cannot be judged "
            "here. Export a portable one, or export on the processor that will run it."
        )


def export_int8(
    source: str | Path | Checkpoint,
    photos: str | Path,
    *,
    to: str = "onnx",
    out: str | Path | None = None,
    pixels: str | None = None,
    agreement: float = DEFAULT_AGREEMENT,
    portable: bool = True,
    runtime: str | Path | BrowserRuntime | None = None,
    backend: str = "auto",
    attempts: Sequence[Attempt] = ATTEMPTS,
    report: Report = discard,
    progress: Progress = no_progress,
) -> Int8Export:
    """Write a checkpoint in int8: the first of `ATTEMPTS` that keeps the class of enough photos.

    Some photos set the ranges of the layers, at most 256: those of validation, else of train. Of the split that `evaluate`
    scores, at most 2,000 judge each attempt in the engine that opens the file, with the pixels of `Preprocessing`, wherever
    those of the file are. A single split is divided, a third to set the ranges.

    Args:
        source: a path or a name, as `load_checkpoint` takes it, or a `Checkpoint`.
        photos: a data set, as `open_dataset` takes it, or a folder without labels.
        to: "onnx", "openvino" or "web".
        out, pixels, runtime: as in `export`.
        agreement: the share of photos that must keep the class that float32 gives them.
        portable: whether weights of layers that multiply in integers have 7 bits, so that the file runs on any processor.
            With 8 bits it is refused on processors without VNNI, on which sums would overflow.
        backend: the engine that judges.
        attempts: what to try, in this order.
        report: takes lines about the progress.
        progress: takes the number of answers so far and the total.

    Raises:
        CheckFailedError: no attempt keeps the class of enough photos; nothing is written.
        CheckpointError, ConfigError, DataError, MissingExtraError: as `export`.
    """
    check_export_options(to, "int8", photos, agreement, portable)
    check_runtime_option(runtime, to)
    form = export_format(to)
    place = form.pixels[0] if pixels is None else check_format_pixels(pixels, to)
    path = new_export_file(default_name(source, form) if out is None else out, form)
    form.check()
    options: dict[str, object] = {} if place == form.pixels[0] else {"pixels": place}
    member = PAGE_MODEL if form.is_page else ""
    if form.is_page:
        options["runtime"] = runtime if isinstance(runtime, BrowserRuntime) else read_browser_runtime(runtime)
    choose_backend(backend, path / member)
    checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    if not checkpoint.class_names:
        raise ConfigError(
            "This checkpoint has no classifier, so that nothing says how well int8 answers. Export float32."
        )
    calibration, judging = divide_photos(checkpoint, photos)
    return search(
        checkpoint,
        calibration,
        judging,
        partial(_WRITERS[to], **options),
        path,
        portable=portable,
        min_agreement=agreement,
        backend=backend,
        attempts=attempts,
        member=member,
        report=report,
        progress=progress,
    )
