"""A checkpoint written for another engine in float32 or bfloat16. The formats are in a table."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, as_arrays, load_arrays
from allmlp.errors import ConfigError, did_you_mean
from allmlp.exports.litert_model.graph import litert_bytes
from allmlp.exports.metadata import Pixels
from allmlp.exports.onnx_model.graph import onnx_bytes
from allmlp.exports.onnx_model.pixels import check_pixels
from allmlp.exports.openvino_model import write_openvino
from allmlp.exports.runtimes import import_litert_schema, import_onnx, import_openvino, import_torch
from allmlp.exports.web_page.onnxruntime_web import BrowserRuntime, read_browser_runtime
from allmlp.exports.web_page.page import write_page
from allmlp.io.atomic_write import reason_of, write_bytes
from allmlp.io.display import escape, quote
from allmlp.io.path_problem import path_problem, path_text

__all__ = [
    "EXPORT_FORMATS",
    "ExportFormat",
    "check_format_pixels",
    "check_runtime_option",
    "default_name",
    "export_format",
    "new_export_file",
    "write_float_export",
]


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """A format of exports.

    Attributes:
        ending: of the file's name; of a page, of the name of its folder if none is given.
        check: raises a MissingExtraError if a library is missing: before anything slow.
        write: writes a model to a new file; takes `pixels`, too, if the format has several, `precision` if it has others than
            float32, and `runtime` if it is a page.
        other_endings: of files that are written next to it.
        pixels: where photos may become images: "out" of the file, "in" its graph, or "exact" in it; the default first.
        precisions: of weights and products that `write` takes. (int8 is written by `allmlp.quantisation`.)
        no_pixels: what to do instead of those that it lacks.
        is_page: whether it is a folder with a page, whose runtime is a `BrowserRuntime`.
    """

    ending: str
    check: Callable[[], object]
    write: Callable[..., object]
    other_endings: tuple[str, ...] = ()
    pixels: tuple[Pixels, ...] = ("out",)
    precisions: tuple[str, ...] = ("float32",)
    no_pixels: str = "Use to='onnx', or pre-process outside."
    is_page: bool = False


def _write_onnx(model: ArrayCheckpoint, path: Path, pixels: Pixels = "out") -> None:
    write_bytes(path, onnx_bytes(model, pixels=pixels))


def _write_openvino(model: ArrayCheckpoint, path: Path) -> None:
    write_openvino(onnx_bytes(model), path)


def _write_torch(model: ArrayCheckpoint, path: Path, precision: str = "float32") -> None:
    from allmlp.exports.torch_program.program import program_bytes  # which imports torch

    write_bytes(path, program_bytes(model, precision))


def _write_litert(model: ArrayCheckpoint, path: Path) -> None:
    write_bytes(path, litert_bytes(model))


def _check_torch() -> None:
    """torch belongs to every full installation."""
    import_torch()


def _check_openvino() -> None:
    import_openvino()  # first: its extra installs onnx, too
    import_onnx()


EXPORT_FORMATS: Mapping[str, ExportFormat] = {
    "onnx": ExportFormat(ending=".onnx", check=import_onnx, write=_write_onnx, pixels=("out", "in", "exact")),
    "openvino": ExportFormat(
        ending=".xml",
        check=_check_openvino,
        write=_write_openvino,
        other_endings=(".bin",),
        no_pixels="OpenVINO ignores antialiasing in ONNX's Resize, and computes sizes in float32: export with to='onnx' and "
        "run it in ONNX Runtime, or use pixels='out'.",
    ),
    "torch": ExportFormat(ending=".pt2", check=_check_torch, write=_write_torch, precisions=("float32", "bfloat16")),
    "litert": ExportFormat(ending=".tflite", check=import_litert_schema, write=_write_litert),
    "web": ExportFormat(
        ending="-web",
        check=import_onnx,
        write=write_page,
        pixels=("in",),
        no_pixels="Browsers resize photos otherwise than allmlp, so that a page does it in its model's graph: pixels='in'.",
        is_page=True,
    ),
}


def write_float_export(
    source: str | Path | Checkpoint | ArrayCheckpoint,
    *,
    to: str = "onnx",
    out: str | Path | None = None,
    pixels: str | None = None,
    precision: str = "float32",
    runtime: str | Path | BrowserRuntime | None = None,
) -> Path:
    """Write a checkpoint in float32 or bfloat16; arguments and errors are those of `allmlp.export`, which calls this."""
    form = export_format(to)
    if precision not in form.precisions:
        raise ConfigError(f"precision is {quote(precision)}; {to} files have {' or '.join(form.precisions)}.")
    check_runtime_option(runtime, to)
    place = form.pixels[0] if pixels is None else check_format_pixels(pixels, to)
    path = new_export_file(default_name(source, form) if out is None else out, form)
    form.check()
    if form.is_page and not isinstance(runtime, BrowserRuntime):
        runtime = read_browser_runtime(runtime)
    if isinstance(source, Checkpoint):
        source = as_arrays(source)
    model = source if isinstance(source, ArrayCheckpoint) else load_arrays(source)
    options: dict[str, object] = {"runtime": runtime}
    if place != form.pixels[0]:
        options["pixels"] = place
    if precision != "float32":
        options["precision"] = precision
    form.write(model, path, **{name: value for name, value in options.items() if value is not None})
    return path


def export_format(name: object) -> ExportFormat:
    """Return the format with this name. Raises ConfigError if there is none."""
    if not isinstance(name, str) or name not in EXPORT_FORMATS:
        hint = did_you_mean(name, EXPORT_FORMATS) if isinstance(name, str) else ""
        raise ConfigError(f"to is {quote(name)}; expected one of {', '.join(EXPORT_FORMATS)}.{hint}")
    return EXPORT_FORMATS[name]


def check_format_pixels(pixels: object, to: str) -> Pixels:
    """Return where photos become images in a file of a format.

    Raises:
        ConfigError: an unknown word, or pixels that the format does not have.
    """
    form = export_format(to)
    place = check_pixels(pixels)
    if place not in form.pixels:
        raise ConfigError(f"pixels is {place!r}, which {to} files cannot have. {form.no_pixels}")
    return place


def check_runtime_option(runtime: object, to: str, dash: str = "") -> None:
    """Check that a runtime is given only for a page; `dash` stands before names of options. Raises ConfigError."""
    if runtime is not None and not export_format(to).is_page:
        raise ConfigError(
            f"{dash}runtime would have no effect: it is what a page computes with, for {dash}to web only."
        )


def default_name(source: object, form: ExportFormat) -> str:
    """Return the name of an export's file in the current folder: "runs/mine" gives "mine.onnx", and of a page "mine-web"."""
    text = path_text(source) or "mixer"
    parts = [part for part in re.split(r"[/\\:]+", text.partition("@")[0]) if part not in ("", ".", "..")]
    name = parts[-1] if parts else "mixer"
    stem, ending = os.path.splitext(name)  # noqa: PTH122 - of a name
    return (stem if ending.lower() in (".npz", ".safetensors", ".pth", ".json") else name) + form.ending


def new_export_file(out: object, form: ExportFormat) -> Path:
    """Return the path of a file, or of a page's folder, to write.

    Raises:
        ConfigError: it exists (an empty folder may), a file has another ending, or it cannot be written.
    """
    text = path_text(out)
    if text is None:
        raise ConfigError(f"out is {quote(out)}; expected a path.")
    path = Path(text)
    if problem := path_problem(path):
        raise ConfigError(f"{text[:300]}: cannot be written to ({problem}). Choose another path.")
    if form.is_page:
        _check_new_folder(path)
        return path
    if path.suffix.lower() != form.ending:
        raise ConfigError(f"{escape(text[:300])}: expected a name that ends in {form.ending}.")
    for file in (path, *map(path.with_suffix, form.other_endings)):
        if os.path.lexists(file):
            raise ConfigError(f"{escape(file)}: this file exists, and nothing is overwritten. Choose a new name.")
    return path


def _check_new_folder(path: Path) -> None:
    try:
        if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
            return
    except OSError as error:
        raise ConfigError(f"{escape(path)}: cannot be written to ({reason_of(error)}). Choose another path.") from error
    what = "this folder is not empty" if path.is_dir() else "this file exists"
    raise ConfigError(f"{escape(path)}: {what}, and nothing is overwritten. Choose a new name.")
