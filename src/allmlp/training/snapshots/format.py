"""The format of a snapshot: a folder with tensors, metadata, and a manifest that proves both complete."""

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
from allmlp.io.file_kinds import sha256_of

__all__ = ["Content", "Snapshot", "check_snapshot", "read_snapshot", "snapshot_content", "write_snapshot"]

TENSORS_FILE = "state.safetensors"
METADATA_FILE = "state.json"
MANIFEST_FILE = "manifest.json"
FORMAT = "allmlp save"
VERSION = 1

MAX_MANIFEST_BYTES = 64 << 10
MAX_METADATA_BYTES = 64 << 20


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that was read: `metadata` as parsed from JSON, `tensors` on the CPU in memory of their own."""

    step: int
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Content:
    """The checked and serialised content of a snapshot to write."""

    step: int
    header: bytes
    tensors: dict[str, Tensor]
    metadata: bytes


def snapshot_content(step: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Content:
    """Return the content of a snapshot. `metadata` may change afterwards, the tensors must not.

    Raises:
        ValueError, TypeError: a tensor is not dense, not on the CPU or of an unsupported dtype, or `metadata` is not JSON.
    """
    text = to_json({"step": step, "facts": dict(metadata)})
    if len(text) > MAX_METADATA_BYTES:
        raise ValueError(f"the metadata has {len(text):,} bytes; at most {MAX_METADATA_BYTES:,} can be read back")
    return Content(step, safetensors_header(tensors), dict(tensors), text)


class _Sink(Protocol):
    def write(self, content: Any, /) -> object: ...


class _HashingWriter:
    """Writes to a file while counting and hashing the bytes, so that the file need not be read again."""

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


def write_snapshot(path: Path, content: Content) -> None:
    """Write a snapshot as the folder `path`, atomically.

    Raises:
        OSError: the disk is full, the parent folder is not writable, or `path` exists.
    """
    entries: dict[str, dict[str, Any]] = {}

    def hashed(name: str, write: Callable[[_Sink], object]) -> Callable[[IO[bytes]], None]:
        def fill(file: IO[bytes]) -> None:
            writer = _HashingWriter(file)
            write(writer)
            entries[name] = writer.entry()

        return fill

    contents = {
        TENSORS_FILE: hashed(TENSORS_FILE, lambda sink: write_safetensors(sink, content.header, content.tensors)),
        METADATA_FILE: hashed(METADATA_FILE, lambda sink: sink.write(content.metadata)),
        MANIFEST_FILE: lambda file: file.write(_manifest(content.step, entries)),
    }
    write_folder(path, contents)


def _manifest(step: int, entries: Mapping[str, dict[str, Any]]) -> bytes:
    files = {name: entries[name] for name in (TENSORS_FILE, METADATA_FILE)}
    return to_json({"format": FORMAT, "version": VERSION, "step": step, "files": files})


def read_snapshot(path: Path, step: int) -> Snapshot:
    """Read and verify a snapshot.

    Raises:
        CheckpointError: it is damaged; the message is one line without its path.
    """
    check_snapshot(path, step)
    try:
        values = json.loads(_read_bytes(path / METADATA_FILE, MAX_METADATA_BYTES))
        metadata = values["facts"]
        if values["step"] != step or not isinstance(metadata, dict):
            raise ValueError("it belongs to another step, or its metadata is not a JSON object")
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise CheckpointError(f"{METADATA_FILE}: {quote(error, limit=200)}") from error
    try:
        with safe_open(path / TENSORS_FILE, framework="pt") as file:
            # Cloned, since the library maps the file into memory: a change to the file would change the tensors.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{TENSORS_FILE}: {quote(error, limit=200)}") from error
    return Snapshot(step, tensors, metadata)


def check_snapshot(path: Path, step: int) -> None:
    """Check that a snapshot is unchanged since it was written.

    Raises:
        CheckpointError: it is damaged; the message is one line without its path.
    """
    manifest = _read_bytes(path / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    try:
        values = json.loads(manifest)
        version, files = values["version"], values["files"]
        expected = {name: (files[name]["size"], files[name]["sha256"]) for name in (TENSORS_FILE, METADATA_FILE)}
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise CheckpointError(f"{MANIFEST_FILE} has changed since it was written") from error
    if version != VERSION:
        raise CheckpointError(f"format version {quote(version)}; this allmlp reads version {VERSION}")
    entries = {}
    for name, (size, sha256) in expected.items():
        entries[name] = _entry_of(path / name, size)
        if entries[name]["sha256"] != sha256:
            raise CheckpointError(f"{name} does not have the SHA-256 that {MANIFEST_FILE} states")
    if manifest != _manifest(step, entries):  # byte for byte: nothing else covers the manifest itself
        raise CheckpointError(f"{MANIFEST_FILE} has changed since it was written")


def _entry_of(path: Path, expected_size: Any) -> dict[str, Any]:
    try:
        if not path.is_file():  # opening a pipe would hang
            raise CheckpointError(f"{path.name} is missing")
        size = path.stat().st_size
        if size != expected_size:  # checked first, so that a huge file is not hashed
            raise CheckpointError(f"{path.name} has {size:,} bytes, which is not the size that {MANIFEST_FILE} states")
        return {"size": size, "sha256": sha256_of(path)}
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror or error})") from error


def _read_bytes(path: Path, limit: int) -> bytes:
    try:
        if not path.is_file():
            raise CheckpointError(f"{path.name} is missing")
        if path.stat().st_size > limit:
            raise CheckpointError(f"{path.name} is larger than {limit >> 10:,} KiB")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror or error})") from error
