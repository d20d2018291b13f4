"""What an ONNX file says about itself, found without reading its weights, for choices that are made before it is opened."""

from pathlib import Path
from typing import BinaryIO

from allmlp.errors import AllmlpError
from allmlp.exports.metadata import OWN_KEY, PIXELS, ExportInfo, parse_info
from allmlp.exports.onnx_model.protobuf import field_extent, read_fields
from allmlp.io.json_object import MAX_CONFIG_BYTES

__all__ = ["stated_info"]

_METADATA = 14  # the number of the field in a model, from onnx.proto
_KEY, _VALUE = 1, 2
_MAX_FIELDS = 1000  # of a model; allmlp writes less than twenty
_MAX_HEAD_BYTES = 20  # two numbers


def stated_info(path: Path) -> ExportInfo | None:
    """Return what the file says, which nothing has checked; None for a file that `read_onnx` will refuse, and say why."""
    try:
        if not path.is_file():  # to open a pipe waits for somebody who writes
            return None
        with path.open("rb") as file:
            text = _own_text(file)
        return None if text is None else parse_info(text, where=str(path), pixels=PIXELS)
    except (OSError, ValueError, ArithmeticError, AllmlpError):
        return None


def _own_text(file: BinaryIO) -> str | None:
    for _ in range(_MAX_FIELDS):
        head = file.read(_MAX_HEAD_BYTES)
        if not head:
            break
        number, start, end = field_extent(memoryview(head))
        file.seek(start - len(head), 1)
        if number != _METADATA:
            file.seek(end - start, 1)
        elif end - start > 2 * MAX_CONFIG_BYTES:
            break
        else:
            texts = {part.number: part.text for part in read_fields(memoryview(file.read(end - start)))}
            if texts.get(_KEY) == OWN_KEY:
                return texts.get(_VALUE, "")
    return None
