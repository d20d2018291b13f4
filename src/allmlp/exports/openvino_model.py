"""OpenVINO models: an .xml file with the layers, and a .bin file with the weights."""

import hashlib
import math
import re
import shutil
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ModelDescription
from allmlp.errors import CheckpointError, ConfigError
from allmlp.exports.integer_products import Operation, integer_weights
from allmlp.exports.metadata import (
    DIGEST_KEY,
    MODEL_INFO,
    OWN_KEY,
    ExportInfo,
    changed,
    check_digest,
    info_text,
    model_info,
    no_description,
    parse_info,
)
from allmlp.exports.onnx_model.checks import check_portable
from allmlp.exports.onnx_model.file import parse_onnx
from allmlp.exports.onnx_model.graph import stored_shapes
from allmlp.exports.runtimes import import_openvino
from allmlp.io.atomic_write import write_together
from allmlp.io.display import escape, quote, shorten, summarise
from allmlp.model import parameter_shapes

__all__ = ["OpenvinoExport", "read_openvino", "write_openvino"]

_MAX_XML_BYTES = 64 << 20  # H/14 takes under 1 MB
_BLANK = "0" * 64
# All that OpenVINO makes of our operators, and small ones that another version may add. None holds a graph of its own.
_LAYERS = frozenset(
    {
        *("Parameter", "Const", "Result", "Add", "Multiply", "MatMul", "Gelu", "MVN", "ReduceMean", "Reshape"),
        *("Transpose", "Range", "Concat", "Convert", "Divide", "Gather", "ShapeOf", "Squeeze", "Subtract", "Unsqueeze"),
    }
)
_INT8_LAYERS = frozenset({"FakeQuantize"})  # to 8 bits and back, which OpenVINO fuses into integer products
_INT8, _UINT8 = "i8", "u8"
_ITEM_BYTES = {"f32": 4, "i64": 8, "i32": 4}
_INT8_ITEM_BYTES = {_INT8: 1, _UINT8: 1}  # next to these
_NUMBERED = re.compile(r"[A-Za-z]+_[0-9]+")
_EXPECTED = "expected an OpenVINO model that allmlp export wrote"


class _Constant(NamedTuple):
    kind: str
    shape: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True, kw_only=True)
class OpenvinoExport:
    """An OpenVINO model that was read and checked.

    Attributes:
        info: what it says about itself.
        model_info: the keys of the Model API next to it.
        path: its .xml file; the .bin file is next to it.
    """

    info: ExportInfo
    model_info: Mapping[str, str]
    path: Path

    @property
    def description(self) -> ModelDescription:
        """The model without its weights."""
        return self.info.description


def write_openvino(onnx_content: bytes, path: Path) -> None:
    """Write an ONNX model that `onnx_bytes` made as `path`, which ends in .xml, and a .bin file next to it.

    Raises:
        MissingExtraError: openvino is not installed.
        ConfigError: the files cannot be written.
    """
    openvino = import_openvino()
    onnx = parse_onnx(onnx_content, where="onnx_bytes")
    # Core.read_model, not openvino.convert_model, which gives the same but reports to Google Analytics.
    model = openvino.Core().read_model(onnx.graph())
    for index, operation in enumerate(model.get_ordered_ops()):
        if _NUMBERED.fullmatch(operation.get_friendly_name()):  # by a counter of the process
            operation.set_friendly_name(f"{operation.get_type_name()}_{index}")
    for name, value in {OWN_KEY: info_text(onnx.info), DIGEST_KEY: _BLANK}.items():
        model.set_rt_info(value, [name])
    for name, value in model_info(onnx.description).items():
        model.set_rt_info(value, [MODEL_INFO, name])
    if onnx.info.quantisation is not None:  # or OpenVINO rounds the inputs of layers that multiply in float32, too
        model.set_rt_info("0", ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.xml"
        try:
            openvino.save_model(model, written, compress_to_fp16=False)
        except RuntimeError as error:  # its only report of a full disk
            raise ConfigError(
                f"{path}: OpenVINO could not write the model to the temporary folder {folder} ({shorten(escape(error), 200)}). "
                "Make space there, or name another folder in the environment variable TMPDIR."
            ) from error
        xml, weights = written.read_bytes(), written.with_suffix(".bin")
        digest = _digest(xml, weights)
        xml = xml.replace(_entry(_BLANK), _entry(digest), 1)
        with weights.open("rb") as source:
            write_together({path.with_suffix(".bin"): lambda file: shutil.copyfileobj(source, file), path: xml})


def read_openvino(path: Path) -> OpenvinoExport:
    """Read and check an OpenVINO model that allmlp wrote.

    Raises:
        CheckpointError: it does not exist, is damaged or hostile, or was not written by allmlp.
    """
    where = shorten(escape(path), 300)
    try:
        for file in (path, path.with_suffix(".bin")):
            if not file.is_file():
                problem = "not a regular file" if file.exists() else "no such file"
                raise CheckpointError(f"{shorten(escape(file), 300)}: {problem}; {_EXPECTED}, .xml and .bin.")
        if path.stat().st_size > _MAX_XML_BYTES:
            raise CheckpointError(f"{where}: larger than {_MAX_XML_BYTES >> 20} MiB; {_EXPECTED}.")
        xml = path.read_bytes()
        info, keys, digest = _parse(xml, path.with_suffix(".bin"), where)
        if digest is not None:
            blank = xml.replace(_entry(digest), _entry(_BLANK), 1)
            check_digest(digest, _digest(blank, path.with_suffix(".bin")), where=where)
    except OSError as error:
        raise CheckpointError(f"{where}: could not be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise CheckpointError(f"{where}: could not be read ({error}).") from error
    return OpenvinoExport(info=info, model_info=keys, path=path)


def _parse(xml: bytes, weights: Path, where: str) -> tuple[ExportInfo, dict[str, str], str | None]:
    """Return the description, the keys of the Model API, and the digest."""
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:  # entities may expand without bound
        raise CheckpointError(f"{where}: XML with a document type, which OpenVINO does not write; {_EXPECTED}.")
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise CheckpointError(f"{where}: damaged, or not XML ({escape(error)}); {_EXPECTED}.") from error
    entries = _entries(root, "rt_info/*", where)
    if root.tag != "net":
        raise CheckpointError(f"{where}: XML that starts with {quote(root.tag[:80])}; {_EXPECTED}.")
    if OWN_KEY not in entries:
        raise CheckpointError(f"{where}: {no_description('an OpenVINO model', 'openvino')}")
    info = parse_info(entries[OWN_KEY], where=where)
    _check_layers(root, weights, info, where)
    return info, _entries(root, f"rt_info/{MODEL_INFO}/*", where), entries.get(DIGEST_KEY)


def _entries(root: ElementTree.Element, path: str, where: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    for element in root.findall(path):
        if element.tag in entries:  # of two, programs take one or the other
            raise changed(where, f"the key {quote(element.tag[:80])} occurs twice")
        entries[element.tag] = element.get("value", "")
    return entries


def _check_layers(root: ElementTree.Element, weights: Path, info: ExportInfo, where: str) -> None:
    """Check that a model has only layers of a Mixer, and the weights of the Mixer that it claims to be."""
    is_int8 = info.quantisation is not None
    layers = _LAYERS | _INT8_LAYERS if is_int8 else _LAYERS
    constants: dict[str, _Constant] = {}
    num_bytes = weights.stat().st_size
    for layer in root.iter("layer"):
        kind, version = layer.get("type", ""), layer.get("version", "")
        if kind not in layers or not version.startswith("opset"):
            raise _not_ours(where, f"the layer {quote(kind[:80])} of {quote(version[:80])}")
        if kind == "Const":
            name = layer.get("name", "")
            if name in constants:
                raise _not_ours(where, f"two weights named {quote(name[:80])}")
            constants[name] = _checked_constant(name, layer.find("data"), num_bytes, where, is_int8=is_int8)
    wanted = stored_shapes(parameter_shapes(info.description.config))
    wrong = [name for name, shape in wanted.items() if name not in constants or constants[name].shape != shape]
    if wrong:
        raise CheckpointError(
            f"{where}: its weights do not fit the Mixer that it describes: {summarise(wrong, limit=5)}. Export the checkpoint "
            "again."
        )
    if info.quantisation is not None and not info.quantisation.needs_vnni:
        integers = {name: constant for name, constant in constants.items() if constant.kind == _INT8}
        names = integer_weights(_operations(root), integers.keys())
        check_portable(_integers(weights, {name: integers[name] for name in integers if name in names}), where)


def _operations(root: ElementTree.Element) -> Iterator[Operation]:
    """Yield the layers with what they are connected to: constants by name, and other layers by number."""
    values = {
        layer.get("id", ""): layer.get("name", "") if layer.get("type") == "Const" else f"#{layer.get('id')}"
        for layer in root.iter("layer")
    }
    inputs: dict[str, list[tuple[int, str]]] = {}
    for edge in root.iter("edge"):
        source = values.get(edge.get("from-layer", ""), "")
        inputs.setdefault(edge.get("to-layer", ""), []).append((int(edge.get("to-port", "0")), source))
    for layer in root.iter("layer"):
        number = layer.get("id", "")
        sources = tuple(source for _, source in sorted(inputs.get(number, [])))
        yield Operation(layer.get("type", ""), sources, (values[number],))


def _checked_constant(
    name: str, data: ElementTree.Element | None, num_bytes: int, where: str, *, is_int8: bool
) -> _Constant:
    """Return a constant, whose values are in the .bin file and fit its type and shape."""
    values = {} if data is None else data.attrib
    kind = values.get("element_type", "")
    item_bytes = _ITEM_BYTES | _INT8_ITEM_BYTES if is_int8 else _ITEM_BYTES
    if kind not in item_bytes:
        raise _not_ours(where, f"a weight of the type {quote(kind[:80])}")
    shape = tuple(int(side) for side in values.get("shape", "").split(",") if side.strip())
    start, size = int(values.get("offset", -1)), int(values.get("size", -1))
    if not (0 <= start <= start + size <= num_bytes):
        raise ValueError(f"the .bin file is too short for {quote(name[:80])}")
    if len(shape) > 8 or min(shape, default=0) < 0 or math.prod(shape) * item_bytes[kind] != size:
        raise ValueError(f"{quote(name[:80])} has {size:,} bytes, which do not fit its shape")
    if kind == _UINT8 and size != 1:
        raise _not_ours(where, f"the weight {quote(name[:80])} in uint8")
    return _Constant(kind, shape, start, size)


def _integers(weights: Path, constants: Mapping[str, _Constant]) -> Iterator[tuple[str, NDArray[np.int8]]]:
    """Yield the values of constants in int8, by name."""
    with weights.open("rb") as file:
        for name, constant in constants.items():
            file.seek(constant.start)
            yield name, np.frombuffer(file.read(constant.size), np.int8)


def _not_ours(where: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"{where}: not a model that allmlp writes: {what}. It is not run. Export the checkpoint again."
    )


def _digest(xml: bytes, weights: Path) -> str:
    """Return the digest of both files, the .xml file with zeros in place of its digest."""
    hashed = hashlib.sha256(xml)
    with weights.open("rb") as file:
        while piece := file.read(4 << 20):
            hashed.update(piece)
    return hashed.hexdigest()


def _entry(digest: str) -> bytes:
    return f'<{DIGEST_KEY} value="{digest}"'.encode()
