"""One save: a folder with tensors, metadata and a manifest of both, which proves it whole."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from safetensors import SafetensorError, safe_open
from torch import Tensor

from allmlp.checkpoints import safetensors_header, write_safetensors
from allmlp.errors import CheckpointError
from allmlp.io.atomic_write import to_json, write_folder
from allmlp.io.display import quote

__all__ = ["Content", "Snapshot", "check_save", "read_save", "snapshot_content", "write_save"]

TENSORS_FILE = "state.safetensors"
METADATA_FILE = "state.json"
MANIFEST_FILE = "manifest.json"
FORMAT = "allmlp save"
VERSION = 1

MAX_MANIFEST_BYTES = 64 << 10
MAX_METADATA_BYTES = 64 << 20


@dataclass(frozen=True)
class Snapshot:
    """A save that was read: `metadata` as JSON gives them back, `tensors` on the CPU and nobody else's."""

    step: int
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Content:
    """What a save will hold, found fit to be written."""

    step: int
    header: bytes
    tensors: dict[str, Tensor]
    metadata: bytes


def snapshot_content(step: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Content:
    """Take down what is to be saved; `metadata` may change afterwards, the tensors must not.

    Raises:
        ValueError, TypeError: a tensor that is not dense and on the CPU or of an odd dtype, or metadata that is not JSON.
    """
    text = to_json({"step": step, "facts": dict(metadata)})
    if len(text) > MAX_METADATA_BYTES:
        raise ValueError(f"the metadata takes {len(text):,} bytes; at most {MAX_METADATA_BYTES:,} are read back")
    return Content(step, safetensors_header(tensors), dict(tensors), text)


class _Sink(Protocol):
    def write(self, content: Any, /) -> object: ...


class _Digesting:
    """Passes on what is written, counts and hashes it: the file need not be read again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._size = 0

    def write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._sha256.update(content)
        self._size += len(content)

    def entry(self) -> dict[str, Any]:
        return {"size": self._size, "sha256": self._sha256.hexdigest()}


def write_save(path: Path, content: Content) -> None:
    """Write a save as the folder `path`, which appears whole or not at all.

    Raises:
        OSError: the disk is full, the folder above is not writable, or `path` exists.
    """
    entries: dict[str, dict[str, Any]] = {}

    def digested(name: str, write: Callable[[_Sink], object]) -> Callable[[IO[bytes]], None]:
        def fill(file: IO[bytes]) -> None:
            digesting = _Digesting(file)
            write(digesting)
            entries[name] = digesting.entry()

        return fill

    contents = {
        TENSORS_FILE: digested(TENSORS_FILE, lambda sink: write_safetensors(sink, content.header, content.tensors)),
        METADATA_FILE: digested(METADATA_FILE, lambda sink: sink.write(content.metadata)),
        MANIFEST_FILE: lambda file: file.write(_manifest(content.step, entries)),
    }
    write_folder(path, contents)


def _manifest(step: int, entries: Mapping[str, dict[str, Any]]) -> bytes:
    files = {name: entries[name] for name in (TENSORS_FILE, METADATA_FILE)}
    return to_json({"format": FORMAT, "version": VERSION, "step": step, "files": files})


def read_save(path: Path, step: int) -> Snapshot:
    """Read a save that is as it was written.

    Raises:
        CheckpointError: what is wrong with it, in one line without its path.
    """
    check_save(path, step)
    try:
        values = json.loads(_content(path / METADATA_FILE, MAX_METADATA_BYTES))
        metadata = values["facts"]
        if values["step"] != step or not isinstance(metadata, dict):
            raise ValueError("it is of another step, or its metadata is not an object")
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise CheckpointError(f"{METADATA_FILE}: {quote(error, limit=200)}") from error
    try:
        with safe_open(path / TENSORS_FILE, framework="pt") as file:
            # Copied: the library's tensors are the file, and whoever changed one or cut the other would notice.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{TENSORS_FILE}: {quote(error, limit=200)}") from error
    return Snapshot(step, tensors, metadata)


def check_save(path: Path, step: int) -> None:
    """Check that a save is as it was written.

    Raises:
        CheckpointError: what is wrong with it, in one line without its path.
    """
    manifest = _content(path / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    try:
        values = json.loads(manifest)
        version, files = values["version"], values["files"]
        promised = {name: (files[name]["size"], files[name]["sha256"]) for name in (TENSORS_FILE, METADATA_FILE)}
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise CheckpointError(f"{MANIFEST_FILE} is not what was written") from error
    if version != VERSION:
        raise CheckpointError(f"version {quote(version)} of the format; this allmlp reads version {VERSION}")
    found = {}
    for name, (size, sha256) in promised.items():
        found[name] = _entry_of(path / name, size)
        if found[name]["sha256"] != sha256:
            raise CheckpointError(f"{name} does not have the SHA-256 of {MANIFEST_FILE}")
    if manifest != _manifest(step, found):  # byte for byte: nothing else could prove the manifest itself valid
        raise CheckpointError(f"{MANIFEST_FILE} is not what was written")


def _entry_of(path: Path, size: Any) -> dict[str, Any]:
    try:
        if not path.is_file():  # a pipe would hang whoever opens it
            raise CheckpointError(f"{path.name} is missing")
        found = path.stat().st_size
        if found != size:  # before a huge file is hashed
            raise CheckpointError(f"{path.name} has {found:,} bytes, not as many as {MANIFEST_FILE} states")
        with path.open("rb") as file:
            return {"size": found, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror or error})") from error


def _content(path: Path, limit: int) -> bytes:
    try:
        if not path.is_file():
            raise CheckpointError(f"{path.name} is missing")
        if path.stat().st_size > limit:
            raise CheckpointError(f"{path.name} is larger than {limit >> 10:,} KiB")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror or error})") from error
