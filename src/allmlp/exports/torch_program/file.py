"""A .pt2 file read back as data: its description and its weights, in NumPy. Neither torch nor a pickle is needed.

`torch.export.load` is never called (torch 2.14.1, torch/export/pt2_archive/_package.py): it unpickles every weight and constant
that the file says is a pickle, and the sample inputs, with Python's unpickler (at the latest as a fallback), gives
sizes to sympy, which uses `eval`, and loads compiled libraries. So a file runs code of whoever made it.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, ModelDescription
from allmlp.errors import AllmlpError, CheckpointError
from allmlp.exports.metadata import ExportInfo, changed, check_digest, no_description, parse_info
from allmlp.exports.torch_program.archive import DESCRIPTION, DIGEST, EXTRA, PROGRAM, ROOT, archive_digest
from allmlp.io.display import escape, quote, shorten, summarise
from allmlp.io.json_object import MAX_CONFIG_BYTES
from allmlp.io.zip_archive import ZIP_ERRORS, ChecksumError, ZipMember, list_members, read_into
from allmlp.model import parameter_shapes

__all__ = ["TorchExport", "read_torch"]

_DESCRIPTION = f"{EXTRA}{DESCRIPTION}"
_WEIGHTS = "data/weights/"
_WEIGHT_LIST = f"{_WEIGHTS}model_weights_config.json"
_CONSTANT_LIST = "data/constants/model_constants_config.json"
_BYTE_ORDER = "byteorder"
_SAMPLE = "data/sample_inputs/model.pt"
_NOTES = (".data/version", ".data/serialization_id", "archive_format", "archive_version")
_NEEDED = (_DESCRIPTION, _WEIGHT_LIST, _CONSTANT_LIST, _BYTE_ORDER, PROGRAM)
_WEIGHT = re.compile(r"weight_[0-9]{1,6}")
_MAX_SMALL_BYTES = 64 << 20  # of each member that is not a weight; the program of H/14 has about 1 MB
_FLOAT32, _BFLOAT16 = 7, 13  # torch._export.serde.schema.ScalarType
_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TorchExport:
    """A .pt2 file that was read and checked, as far as allmlp uses it.

    Attributes:
        info: what it says about itself.
        weights: by the names and in the shapes of `Checkpoint.weights`, in float32.
        program: its program as JSON, which is not run.
        where: the file, for messages.
    """

    info: ExportInfo
    weights: Mapping[str, NDArray[np.float32]]
    program: bytes
    where: str

    @property
    def description(self) -> ModelDescription:
        """The model without its weights."""
        return self.info.description

    def checkpoint(self) -> Checkpoint:
        """Return a checkpoint with these weights, which needs torch. In bfloat16, they are rounded."""
        import torch

        return Checkpoint(
            description=self.description,
            weights={name: torch.from_numpy(array) for name, array in self.weights.items()},
        )

    def checked_program(self, *, with_features: bool = False) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """Return what the program computes from images (B, 3, H, W): logits, or features of a Mixer without a classifier.

        With `with_features`, it is logits and features next to each other.

        Raises:
            CheckFailedError: it is not the program that this version of allmlp and torch writes. It is not run.
        """
        from allmlp.exports.torch_program.program import checked_program

        return checked_program(self.info, self.weights, self.program, where=self.where, with_features=with_features)


def read_torch(path: Path) -> TorchExport:
    """Read and check a .pt2 file that allmlp wrote.

    Raises:
        CheckpointError: it does not exist, is damaged or hostile, or was not written by allmlp.
    """
    where = shorten(escape(path), 300)
    if not path.is_file():
        problem = "not a regular file" if path.exists() else "no such file"
        raise CheckpointError(f"{where}: {problem}; expected a .pt2 file that allmlp export wrote.")
    try:
        return _read(path, where)
    except AllmlpError:
        raise
    except ChecksumError as error:
        raise changed(where, str(error)) from error
    except ZIP_ERRORS as error:
        what = shorten(escape(error), 300)
        raise CheckpointError(f"{where}: damaged or cut short ({what}). Export the checkpoint again.") from error


def _read(path: Path, where: str) -> TorchExport:
    members = {member.name.removeprefix(ROOT): member for member in list_members(path)}
    if _DESCRIPTION not in members:
        raise CheckpointError(f"{where}: {no_description('a .pt2 file', 'torch')}")
    _check_members(members, where)
    with path.open("rb") as file:
        small = {
            name: _content(file, member)
            for name, member in members.items()
            if _weight_number(name) is None and not _is_note(name)
        }
        info = parse_info(small[_DESCRIPTION].decode(), where=where, precisions=_PRECISIONS)
        names = _weight_members(small[_WEIGHT_LIST], info, members, where)
        contents = {name: _content(file, members[member]) for name, member in names.items()}
    if small[_BYTE_ORDER] != b"little":
        raise _not_ours(where, f"the byte order {quote(small[_BYTE_ORDER][:80].decode('latin-1'))}")
    if _json_object(small[_CONSTANT_LIST]).get("config") != {}:
        raise _not_ours(where, "constants next to the weights")
    every: dict[str, bytes | memoryview] = {f"{ROOT}{name}": memoryview(content) for name, content in small.items()}
    every |= {f"{ROOT}{names[name]}": memoryview(content) for name, content in contents.items()}
    digest = small.get(DIGEST)
    check_digest(None if digest is None else digest.decode("latin-1"), archive_digest(every), where=where)
    shapes = parameter_shapes(info.description.config)
    weights = {name: _array(content, shapes[name]) for name, content in contents.items()}
    if wrong := sorted(name for name, weight in weights.items() if not np.isfinite(weight).all()):
        raise CheckpointError(f"{where}: NaN or infinity in {summarise(wrong, limit=400)}.")
    return TorchExport(info=info, weights=weights, program=bytes(small[PROGRAM]), where=where)


def _check_members(members: Mapping[str, ZipMember], where: str) -> None:
    known = {*_NEEDED, *_NOTES, _SAMPLE, DIGEST}
    others = [name for name in members if name not in known and _weight_number(name) is None]
    if others:
        raise _not_ours(where, f"the members {summarise(map(escape, others), limit=5)}")
    if missing := [name for name in _NEEDED if name not in members]:
        raise CheckpointError(f"{where}: it lacks {', '.join(missing)}. Export the checkpoint again.")
    if packed := [name for name, member in members.items() if member.deflated]:
        raise _not_ours(where, f"compressed members such as {quote(packed[0][:80])}")
    large = [
        name
        for name, member in members.items()
        if member.num_bytes > (MAX_CONFIG_BYTES if name == _DESCRIPTION else _MAX_SMALL_BYTES)
        and _weight_number(name) is None
    ]
    if large:
        raise _not_ours(where, f"{quote(large[0][:80])} of {members[large[0]].num_bytes:,} bytes")


def _weight_members(
    listed: bytearray, info: ExportInfo, members: Mapping[str, ZipMember], where: str
) -> dict[str, str]:
    """Return the member of every weight, by its name, in the order of the Mixer; all of them fit its shapes."""
    entries = _json_object(listed).get("config")
    shapes = parameter_shapes(info.description.config)
    if not isinstance(entries, dict) or entries.keys() != shapes.keys():
        wrong = shapes.keys() ^ (entries.keys() if isinstance(entries, dict) else set())
        raise CheckpointError(
            f"{where}: its weights do not fit the Mixer that it describes: "
            f"{summarise(map(escape, sorted(wrong)), limit=5)}. Export the checkpoint again."
        )
    found: dict[str, str] = {}
    for name, shape in shapes.items():
        kind = _kind(name, info.precision)
        entry = entries[name]
        values = entry if isinstance(entry, dict) else {}
        member = f"{_WEIGHTS}{values.get('path_name')}"
        if values.get("use_pickle") is not False or values.get("tensor_meta") != _tensor_values(shape, kind):
            raise _not_ours(where, f"the weight {quote(name)} as a pickle, or of another type or shape")
        num_bytes = math.prod(shape) * (4 if kind == _FLOAT32 else 2)
        if member not in members or members[member].num_bytes != num_bytes or _weight_number(member) is None:
            raise ValueError(f"{name} is not in the file, or has another size")
        found[name] = member
    if len(set(found.values())) != len(found) or sum(_weight_number(name) is not None for name in members) != len(
        found
    ):
        raise _not_ours(where, "weights that are shared, or not used")
    return found


def _kind(name: str, precision: str) -> int:
    is_float32 = "norm." in name or name.startswith("head.")
    return _BFLOAT16 if precision == "bfloat16" and not is_float32 else _FLOAT32


def _tensor_values(shape: tuple[int, ...], kind: int) -> dict[str, Any]:
    """Return what torch's list says about a contiguous tensor on the CPU."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return {
        "dtype": kind,
        "sizes": [{"as_int": size} for size in shape],
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": stride} for stride in strides],
        "storage_offset": {"as_int": 0},
        "layout": 7,  # strided
    }


def _array(content: bytearray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if len(content) == 4 * math.prod(shape):
        return np.frombuffer(content, "<f4").reshape(shape)
    upper = np.frombuffer(content, "<u2").astype(np.uint32) << 16  # bfloat16 is the upper half of float32
    return upper.view(np.float32).reshape(shape)


def _content(file: Any, member: ZipMember) -> bytearray:
    content = bytearray(member.num_bytes)
    read_into(file, member, memoryview(content))
    return content


def _weight_number(name: str) -> str | None:
    number = name.removeprefix(_WEIGHTS)
    return number if name.startswith(_WEIGHTS) and _WEIGHT.fullmatch(number) else None


def _is_note(name: str) -> bool:
    return name in _NOTES[:2]


def _json_object(content: bytearray) -> dict[str, Any]:
    try:
        values: Any = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("a list of weights is not a JSON object")
    return values


def _not_ours(where: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"{where}: not a .pt2 file that allmlp writes: {what}. It is not opened. Export the checkpoint again."
    )
