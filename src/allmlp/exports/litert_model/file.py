"""A .tflite file read back. It is untrusted: all of it but the weights has to be, byte for byte, what allmlp writes.

So nothing of a file is parsed but its description: the graph that belongs to it is written again, without weights, and
compared.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allmlp.checkpoints import ModelDescription
from allmlp.errors import AllmlpError, CheckpointError
from allmlp.exports.litert_model.graph import DESCRIPTION, file_digest, mixer_graph
from allmlp.exports.metadata import DIGEST_KEY, ExportInfo, changed, check_digest, no_description, parse_info
from allmlp.io.display import escape, shorten, summarise
from allmlp.io.json_object import MAX_CONFIG_BYTES
from allmlp.io.zip_archive import ZIP_ERRORS, ChecksumError, ZipMember, list_members, read_into
from allmlp.model import num_parameters, parameter_shapes

__all__ = ["LitertExport", "read_litert"]

_MAX_BYTES = 1 << 31  # FlatBuffers' limit
_FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class LitertExport:
    """A .tflite file that was read and checked.

    Attributes:
        info: what it says about itself.
        graph: its content up to the description.
    """

    info: ExportInfo
    graph: bytes

    @property
    def description(self) -> ModelDescription:
        """The model without its weights."""
        return self.info.description


def read_litert(path: Path) -> LitertExport:
    """Read and check a .tflite file that allmlp wrote.

    Raises:
        CheckpointError: it does not exist, is damaged or hostile, or was not written by allmlp.
        MissingExtraError: ai-edge-litert is not installed.
    """
    where = shorten(escape(path), 300)
    if not path.is_file():
        problem = "not a regular file" if path.exists() else "no such file"
        raise CheckpointError(f"{where}: {problem}; expected a .tflite file that allmlp export wrote.")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{where}: larger than 2 GiB; this is not a .tflite file.")
        return _read(path, where)
    except AllmlpError:
        raise
    except ChecksumError as error:
        raise changed(where, str(error)) from error
    except ZIP_ERRORS as error:
        what = shorten(escape(error), 300)
        raise CheckpointError(f"{where}: damaged or cut short ({what}). Export the checkpoint again.") from error


def _read(path: Path, where: str) -> LitertExport:
    with path.open("rb") as file:
        is_archive = b"PK\x05\x06" in _end(path)
        members = {member.name: member for member in list_members(path)} if is_archive else {}
        if DESCRIPTION not in members:
            cut = "" if members else "cut short, or "
            raise CheckpointError(f"{where}: {cut}{no_description('a .tflite file', 'litert')}")
        texts = {name: _text(file, members[name]) for name in (DESCRIPTION, DIGEST_KEY) if name in members}
        file.seek(0)
        graph = file.read(min(member.header_offset for member in members.values()))
    info = parse_info(texts[DESCRIPTION], where=where, precisions=("float32",))
    _check(graph, info, where)
    check_digest(texts.get(DIGEST_KEY), file_digest(memoryview(graph), texts[DESCRIPTION]), where=where)
    return LitertExport(info=info, graph=graph)


def _check(graph: bytes, info: ExportInfo, where: str) -> None:
    """Check that a graph is that of its description, and that its weights are numbers."""
    config = info.description.config
    wrong = CheckpointError(
        f"{where}: not the graph that this version of allmlp writes for the Mixer that it describes. It is not run. Export the "
        "checkpoint again."
    )
    if num_parameters(config) * _FLOAT_BYTES > len(graph):  # before a graph of that size is made
        raise wrong
    expected = mixer_graph(config, None)
    if len(expected.content) != len(graph):
        raise wrong
    found, own = memoryview(graph), memoryview(expected.content)
    position, broken = 0, []
    sizes = {name: _FLOAT_BYTES * int(np.prod(shape)) for name, shape in parameter_shapes(config).items()}
    for name in sorted(sizes, key=lambda name: expected.starts[name]):
        start = expected.starts[name]
        if found[position:start] != own[position:start]:
            raise wrong
        position = start + sizes[name]
        if not np.isfinite(np.frombuffer(found[start:position], "<f4")).all():
            broken.append(name)
    if found[position:] != own[position:]:
        raise wrong
    if broken:
        raise CheckpointError(f"{where}: NaN or infinity in {summarise(broken, limit=400)}.")


def _text(file: object, member: ZipMember) -> str:
    if member.num_bytes > MAX_CONFIG_BYTES:
        raise ValueError(f"{member.name} has {member.num_bytes:,} bytes")
    content = bytearray(member.num_bytes)
    read_into(file, member, memoryview(content))  # type: ignore[arg-type]
    return content.decode()


def _end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        return file.read()
