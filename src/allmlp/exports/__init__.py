"""Exports: a checkpoint written as an ONNX file or an OpenVINO model, and such a file read back. Nothing here needs torch.

Safe to change: `onnx_graph`, `onnx_pixels` and `openvino_model` (what is written), `metadata` (the description inside the
    file).
Invariants: the names of inputs, outputs and weights; the key "allmlp"; the same checkpoint gives the same bytes. A file is
    untrusted: it is checked (`onnx_file`, `openvino_model`) before an engine sees it.
To add one: a format is a file with a writer and a reader, and an entry in `EXPORT_FORMATS`.
"""

from allmlp.exports.metadata import ChangedExportError, weights_digest
from allmlp.exports.onnx_file import OnnxExport, parse_onnx
from allmlp.exports.onnx_graph import onnx_bytes
from allmlp.exports.onnx_pixels import IMAGES, PHOTOS, PIXELS, Pixels
from allmlp.exports.openvino_model import OpenvinoExport
from allmlp.exports.reading import Export, export_kind, open_export
from allmlp.exports.runtimes import import_openvino
from allmlp.exports.small_environment import ENGINES, requirements, write_requirements
from allmlp.exports.writing import EXPORT_FORMATS, ExportFormat, default_name, export

__all__ = [
    "ENGINES",
    "EXPORT_FORMATS",
    "IMAGES",
    "PHOTOS",
    "PIXELS",
    "ChangedExportError",
    "Export",
    "ExportFormat",
    "OnnxExport",
    "OpenvinoExport",
    "Pixels",
    "default_name",
    "export",
    "export_kind",
    "import_openvino",
    "onnx_bytes",
    "open_export",
    "parse_onnx",
    "requirements",
    "weights_digest",
    "write_requirements",
]
