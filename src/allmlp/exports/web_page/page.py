"""`write_page`: a folder with a model and all that a browser needs to run it, for any web server of static files."""

from pathlib import Path

from allmlp.checkpoints import ArrayCheckpoint
from allmlp.errors import ConfigError
from allmlp.exports.metadata import ExportInfo, QuantisationNote, info_text, weights_digest
from allmlp.exports.onnx_model.graph import onnx_bytes
from allmlp.exports.onnx_model.quantised import Quantisation
from allmlp.exports.web_page.onnxruntime_web import BrowserRuntime
from allmlp.io.atomic_write import advice_for, reason_of, write_folder
from allmlp.io.display import escape
from allmlp.photo_page import PAGE_FILES, page_file

__all__ = ["PAGE_MODEL", "write_page"]

PAGE_MODEL = "model.onnx"
"""The model in the folder: an ONNX export with the pixels in its graph."""

OWN_FILES = ("index.html", "app.js", "pixels.js", "answers.js", "LICENSE-onnxruntime-web.txt")

_DESCRIPTION_FILE = "description.json"
_FOLDER = Path(__file__).parent


def write_page(
    model: ArrayCheckpoint,
    path: Path,
    runtime: BrowserRuntime,
    quantisation: Quantisation | None = None,
    note: QuantisationNote | None = None,
) -> None:
    """Write a page to a new folder; the same checkpoint and runtime give the same bytes.

    With a quantisation and the note on it, its model is in int8.

    Raises:
        ConfigError: a model without a classifier, one that is larger than an ONNX file, or the folder cannot be written;
            nothing is left behind.
        MissingExtraError: onnx is not installed.
    """
    if not model.description.class_names:
        raise ConfigError("This checkpoint has no classifier (num_classes is 0), so that a page would have no answers.")
    content = onnx_bytes(model, quantisation, note, pixels="in")
    info = ExportInfo(
        description=model.description,
        precision="float32" if note is None else "int8",
        weights_sha256=weights_digest(model.weights),
        quantisation=note,
        pixels="in",
    )
    files = {
        **{name: (_FOLDER / name).read_bytes() for name in OWN_FILES},
        **{name: page_file(name) for name in PAGE_FILES},
        **runtime.files,
        _DESCRIPTION_FILE: info_text(info).encode("ascii"),
        PAGE_MODEL: content,
    }
    try:
        write_folder(path, files)
    except OSError as error:
        raise ConfigError(f"{escape(path)}: could not be written ({reason_of(error)}). {advice_for(error)}") from error
