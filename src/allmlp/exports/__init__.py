"""Exports: a checkpoint written for other engines, and such a file read back. Only torch_program/program.py needs torch.

Safe to change: onnx_model/, `openvino_model`, torch_program/, litert_model/ and web_page/ (what is written), `metadata` (the
    description inside the file).
Invariants: the names of inputs, outputs and weights; the key "allmlp"; the same checkpoint gives the same bytes. A file is
    untrusted: it is checked before an engine sees it.
To add one: a format is a file or a folder with a writer and a reader, and an entry in `EXPORT_FORMATS`.
"""

from allmlp.exports.litert_model.file import LitertExport
from allmlp.exports.litert_model.graph import litert_bytes
from allmlp.exports.litert_model.interpreter import LitertInterpreter
from allmlp.exports.metadata import (
    PIXELS,
    ChangedExportError,
    ExportInfo,
    Pixels,
    QuantisationNote,
    model_info,
    model_info_differences,
    weights_digest,
)
from allmlp.exports.onnx_model.file import WEIGHTS, OnnxExport, parse_onnx
from allmlp.exports.onnx_model.graph import onnx_bytes
from allmlp.exports.onnx_model.pixels import IMAGES, PHOTOS
from allmlp.exports.onnx_model.quantised import (
    MAX_INPUT,
    MAX_WEIGHT,
    Quantisation,
    QuantisedWeight,
    input_grid,
    is_token_mixing,
    layer_widths,
)
from allmlp.exports.onnx_model.stated_info import stated_info
from allmlp.exports.openvino_model import OpenvinoExport, write_openvino
from allmlp.exports.reading import Export, export_kind, open_export
from allmlp.exports.runtimes import import_onnxruntime, import_openvino
from allmlp.exports.small_environment import ENGINES, requirements, requirements_in_checkout, write_requirements
from allmlp.exports.torch_program.file import TorchExport
from allmlp.exports.web_page.onnxruntime_web import BrowserRuntime, read_browser_runtime
from allmlp.exports.web_page.page import PAGE_MODEL, write_page
from allmlp.exports.writing import (
    EXPORT_FORMATS,
    ExportFormat,
    check_format_pixels,
    check_runtime_option,
    default_name,
    export_format,
    new_export_file,
    write_float_export,
)

__all__ = [
    "ENGINES",
    "EXPORT_FORMATS",
    "IMAGES",
    "MAX_INPUT",
    "MAX_WEIGHT",
    "PAGE_MODEL",
    "PHOTOS",
    "PIXELS",
    "WEIGHTS",
    "BrowserRuntime",
    "ChangedExportError",
    "Export",
    "ExportFormat",
    "ExportInfo",
    "LitertExport",
    "LitertInterpreter",
    "OnnxExport",
    "OpenvinoExport",
    "Pixels",
    "Quantisation",
    "QuantisationNote",
    "QuantisedWeight",
    "TorchExport",
    "check_format_pixels",
    "check_runtime_option",
    "default_name",
    "export_format",
    "export_kind",
    "import_onnxruntime",
    "import_openvino",
    "input_grid",
    "is_token_mixing",
    "layer_widths",
    "litert_bytes",
    "model_info",
    "model_info_differences",
    "new_export_file",
    "onnx_bytes",
    "open_export",
    "parse_onnx",
    "read_browser_runtime",
    "requirements",
    "requirements_in_checkout",
    "stated_info",
    "weights_digest",
    "write_float_export",
    "write_openvino",
    "write_page",
    "write_requirements",
]
