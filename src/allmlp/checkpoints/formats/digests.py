"""SHA-256 digests inside our own checkpoint files, so that a flipped bit is found when a checkpoint is read.

Each of the two files holds its own digest, so that each can be replaced by one rename:

- model.safetensors has "sha256" in its metadata: the digest of the file with zeros in place of these 64 digits.
- config.json has "sha256": the digest of its other values as JSON with sorted keys and without blanks.

A folder whose config.json has no digest is not checked, as older versions wrote none.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from allmlp.checkpoints.containers.safetensors import read_header_bytes, safetensors_header, write_safetensors
from allmlp.checkpoints.description import DIGEST_KEY
from allmlp.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_config", "check_weights", "is_digested", "with_digest", "write_weights"]

_BLANK = "0" * 64


def with_digest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a config.json with their digest."""
    return {**values, DIGEST_KEY: _digest_of(values)}


def is_digested(values: Mapping[str, Any]) -> bool:
    """Return whether the values of a config.json, and so the weights next to it, were written with digests."""
    return DIGEST_KEY in values


def check_config(values: Mapping[str, Any], *, where: str) -> None:
    """Check the values of a config.json against their digest.

    Raises:
        CheckpointError: the values have changed since they were written.
    """
    if values[DIGEST_KEY] != _digest_of({name: value for name, value in values.items() if name != DIGEST_KEY}):
        raise CheckpointError(
            f'{where}: changed since it was written (its "{DIGEST_KEY}" differs): damaged, or edited. Restore it; if you '
            f'edited it on purpose, delete the line "{DIGEST_KEY}".'
        )


def write_weights(file: IO[bytes], weights: "Mapping[str, Tensor]") -> None:
    """Write dense CPU tensors to `file` as safetensors with a digest, without a copy of them."""
    blank = safetensors_header(weights, metadata={"format": "pt", DIGEST_KEY: _BLANK})
    hashed = hashlib.sha256()
    write_safetensors(_Hash(hashed), blank, weights)
    write_safetensors(file, blank.replace(_entry(_BLANK), _entry(hashed.hexdigest()), 1), weights)


def check_weights(path: Path) -> None:
    """Check a safetensors file against its digest.

    Raises:
        CheckpointError: the file has changed since it was written, holds no digest, or cannot be read.
    """
    digest, hashed = None, hashlib.sha256()
    try:
        with path.open("rb") as file:
            header = read_header_bytes(file)
            with contextlib.suppress(LookupError, TypeError):
                digest = str(json.loads(header[8:])["__metadata__"][DIGEST_KEY])
            hashed.update(header.replace(_entry(str(digest)), _entry(_BLANK), 1))
            while piece := file.read(4 << 20):
                hashed.update(piece)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: could not be read ({error}).") from error
    if hashed.hexdigest() != digest:
        raise CheckpointError(
            f"{path}: changed since it was written (its SHA-256 differs): damaged, or replaced by another file. Obtain a fresh "
            f'copy; if you replaced it on purpose, delete the line "{DIGEST_KEY}" of the config.json next to it.'
        )


class _Hash:
    def __init__(self, hashed: Any) -> None:
        self._hashed = hashed

    def write(self, content: bytes | memoryview) -> None:
        self._hashed.update(content)


def _entry(digest: str) -> bytes:
    return json.dumps({DIGEST_KEY: digest}, separators=(",", ":"))[1:-1].encode()


def _digest_of(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
