"""List of the shards that `allmlp shard` writes next to them, by which missing and changed ones are found."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from allmlp.errors import DataError
from allmlp.io.atomic_write import to_json
from allmlp.io.display import escape
from allmlp.io.file_kinds import sha256_of

__all__ = [
    "DIGEST_PROBLEM",
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "ListedShard",
    "has_listed_digest",
    "listed_shards",
    "manifest_bytes",
    "read_manifest",
    "size_problem",
]

MANIFEST = "shards.json"
_FORMAT = "allmlp shards, version 1"
MAX_MANIFEST_BYTES = 64 << 20  # 200,000 shards
DIGEST_PROBLEM = f"its SHA-256 is not the one in {MANIFEST}: it has changed since it was written"
"""Why a shard is refused whose `has_listed_digest` is False."""

_compared: dict[
    Path, tuple[str, int, int]
] = {}  # the digest, size and modification time of shards that had their digests


class ListedShard(NamedTuple):
    """A shard as it was written. `sha256` is that of the file, in hexadecimal."""

    name: str
    size: int
    sha256: str
    num_photos: int


def manifest_bytes(shards: list[ListedShard]) -> bytes:
    """Return the content of the file."""
    return to_json({"format": _FORMAT, "shards": [shard._asdict() for shard in shards]})


def read_manifest(folder: Path) -> dict[str, ListedShard]:
    """Return the shards listed in a folder by name; {} if there is no list, or one of another program.

    Raises:
        DataError: the list is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ValueError(f"larger than {MAX_MANIFEST_BYTES >> 20} MiB")
        return listed_shards(path.read_bytes())
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataError(
            f"{escape(path)}: this list of shards cannot be read ({escape(reason)}). Restore it, or delete it to open the "
            "shards without knowing whether some are missing."
        ) from error


def listed_shards(content: bytes) -> dict[str, ListedShard]:
    """Return the shards in the content of a list by name; {} if the list is one of another program.

    Raises:
        ValueError, TypeError, KeyError, OverflowError, RecursionError: the list is damaged.
    """
    values: Any = json.loads(content)
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        return {}
    shards = [
        ListedShard(str(shard["name"]), int(shard["size"]), str(shard["sha256"]), int(shard["num_photos"]))
        for shard in values["shards"]
    ]
    return {shard.name: shard for shard in shards}


def size_problem(shard: ListedShard, num_bytes: int) -> str | None:
    """Return why a file of `num_bytes` is not the shard that was listed; None if it may be."""
    if num_bytes == shard.size:
        return None
    return f"it has {num_bytes:,} bytes, but {shard.size:,} according to {MANIFEST}"


def has_listed_digest(path: Path, shard: ListedShard) -> bool:
    """Return whether a file has the SHA-256 of the list, which is computed once per process unless the file changes.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    state = (shard.sha256, status.st_size, status.st_mtime_ns)
    if _compared.get(path) != state:
        if sha256_of(path) != shard.sha256:
            return False
        _compared[path] = state
    return True
