"""Exports: a checkpoint written as an ONNX file or an OpenVINO model, and such a file read back. Nothing here needs torch.

Safe to change: `onnx_graph` and `openvino_model` (what is written), `metadata` (the description inside the file).
Invariants: the names of inputs, outputs and weights; the key "allmlp"; the same checkpoint gives the same bytes. A file is
    untrusted: it is checked (`onnx_file`, `openvino_model`) before an engine sees it.
To add one: a format is a file with a writer and a reader, and an entry in `EXPORT_FORMATS`.
"""

from allmlp.exports.metadata import ChangedExportError, weights_digest
from allmlp.exports.onnx_file import OnnxExport, parse_onnx
from allmlp.exports.onnx_graph import onnx_bytes
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
from allmlp.exports.writing import EXPORT_FORMATS, ExportFormat, default_name, export, export_format, new_export_file

__all__ = [
    "EXPORT_FORMATS",
    "MAX_INPUT",
    "MAX_WEIGHT",
    "ChangedExportError",
    "Export",
    "ExportFormat",
    "OnnxExport",
    "OpenvinoExport",
    "Quantisation",
    "QuantisationNote",
    "QuantisedWeight",
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
    "weights_digest",
    "write_openvino",
]
