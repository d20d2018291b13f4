"""Exports read back: recognised, and checked before an engine sees them."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from allmlp.exports.litert_model.file import LitertExport, read_litert
from allmlp.exports.onnx_model.file import OnnxExport, read_onnx
from allmlp.exports.openvino_model import OpenvinoExport, read_openvino
from allmlp.exports.torch_program.file import TorchExport, read_torch
from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file
from allmlp.io.path_problem import path_text

__all__ = ["Export", "ExportKind", "export_kind", "open_export"]

ExportKind = Literal["onnx", "openvino", "torch", "litert"]
Export = OnnxExport | OpenvinoExport | TorchExport | LitertExport

_ENDINGS: dict[str, ExportKind] = {".onnx": "onnx", ".xml": "openvino", ".pt2": "torch", ".tflite": "litert"}

_READERS: Mapping[str, Callable[[Path], Export]] = {
    "onnx": read_onnx,
    "openvino": read_openvino,
    "torch": read_torch,
    "litert": read_litert,
}


def export_kind(source: object) -> ExportKind | None:
    """Return the kind of export that a source is, by the end of its name or by its content; None for anything else."""
    text = path_text(source)
    if not text or os.path.isdir(text):  # noqa: PTH112 - Path.is_dir raises if a name is too long
        return None
    by_ending = _ENDINGS.get(os.path.splitext(text)[1].lower())  # noqa: PTH122 - the source may be a name, not a path
    if by_ending is not None:
        return by_ending
    try:
        path = Path(text)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except (OSError, ValueError):  # which `load_checkpoint` reports
        return None
    return "onnx" if kind_of_file(start) is FileKind.ONNX else None


def open_export(source: str | Path) -> Export:
    """Read and check an export that `export_kind` recognises.

    Raises:
        CheckpointError: it does not exist, is damaged, hostile, or was not written by allmlp.
        MissingExtraError: a .tflite file, and ai-edge-litert is not installed.
    """
    path = Path(path_text(source) or "")
    return _READERS[export_kind(source) or "onnx"](path)
