"""Exports: a checkpoint written as an ONNX file or an OpenVINO model, and such a file read back. Nothing here needs torch.

Safe to change: `onnx_graph`, `onnx_pixels` and `openvino_model` (what is written), `metadata` (the description inside the
    file).
Invariants: the names of inputs, outputs and weights; the key "allmlp"; the same checkpoint gives the same bytes. A file is
    untrusted: it is checked (`onnx_checks`, `openvino_model`) before an engine sees it.
To add one: a format is a file with a writer and a reader, and an entry in `EXPORT_FORMATS`.
"""

from allmlp.exports.metadata import ChangedExportError, ExportInfo, weights_digest
from allmlp.exports.onnx_file import WEIGHTS, OnnxExport, parse_onnx
from allmlp.exports.onnx_graph import onnx_bytes
from allmlp.exports.onnx_pixels import IMAGES, PHOTOS, PIXELS, Pixels
from allmlp.exports.openvino_model import OpenvinoExport, write_openvino
from allmlp.exports.quantised_graph import (
    MAX_INPUT,
    MAX_WEIGHT,
    Quantisation,
    QuantisationNote,
    QuantisedWeight,
    is_token_mixing,
    layer_widths,
)
from allmlp.exports.reading import Export, export_kind, open_export
from allmlp.exports.runtimes import import_openvino
from allmlp.exports.small_environment import ENGINES, requirements, write_requirements
from allmlp.exports.writing import (
    EXPORT_FORMATS,
    ExportFormat,
    check_format_pixels,
    default_name,
    export,
    export_format,
    new_export_file,
)

__all__ = [
    "ENGINES",
    "EXPORT_FORMATS",
    "IMAGES",
    "MAX_INPUT",
    "MAX_WEIGHT",
    "PHOTOS",
    "PIXELS",
    "WEIGHTS",
    "ChangedExportError",
    "Export",
    "ExportFormat",
    "ExportInfo",
    "OnnxExport",
    "OpenvinoExport",
    "Pixels",
    "Quantisation",
    "QuantisationNote",
    "QuantisedWeight",
    "check_format_pixels",
    "default_name",
    "export",
    "export_format",
    "export_kind",
    "import_openvino",
    "is_token_mixing",
    "layer_widths",
    "new_export_file",
    "onnx_bytes",
    "open_export",
    "parse_onnx",
    "requirements",
    "weights_digest",
    "write_openvino",
    "write_requirements",
]
