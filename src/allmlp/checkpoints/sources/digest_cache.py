"""Allmlp's cache folder for weights, and the recorded digests of downloaded files.

`digests.json` holds one entry per file: "imagenet1k/Mixer-B_16.npz" from the authors' bucket, or
"timm/mixer_b16_224.goog_in21k@COMMIT/model.safetensors" from the Hub. The entry is written when the file first arrives, and
every later download of the file must have the same digest. Files put into the cache by hand are not recorded.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allmlp.errors import AllmlpError, CheckpointError, ConfigError
from allmlp.io.atomic_write import write_json
from allmlp.io.cache_folder import cache_folder
from allmlp.io.file_kinds import sha256_of
from allmlp.io.path_problem import check_regular

__all__ = [
    "ANOTHER_CACHE",
    "Record",
    "cache_directory",
    "digests_path",
    "drop_digest",
    "is_unchanged",
    "read_records",
    "record_digest",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A downloaded file: its SHA-256, and its size and modification time when the digest was computed.

    `model` is its name in the catalogue; None for a file of another repository.
    """

    sha256: str
    size: int
    mtime_ns: int
    model: str | None


def cache_directory() -> Path:
    """Return allmlp's cache folder: ALLMLP_HOME, else "allmlp" in XDG_CACHE_HOME, else ~/.cache/allmlp.

    Raises:
        CheckpointError: the folder would be in the user's home, and the user has none.
    """
    try:
        return cache_folder()
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def digests_path() -> Path:
    """Return the path of the recorded digests."""
    return cache_directory() / "digests.json"


def read_records() -> dict[str, Record]:
    """Return all recorded digests.

    Raises:
        CheckpointError: the record cannot be read, so no file in the cache can be trusted.
    """
    path = digests_path()
    try:
        check_regular(path)
        values = json.loads(path.read_text(encoding="utf-8"))
        return {key: _record(entry) for key, entry in values.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: the record of download digests cannot be read ({error}). Delete it: the files in the cache are then "
            "accepted as they are, and later downloads are recorded again."
        ) from error


def record_digest(key: str, path: Path, sha256: str, model: str | None) -> None:
    """Record the digest of a file, safely even if other processes record theirs at the same time.

    Raises:
        CheckpointError: the cache cannot be written.
    """
    status = path.stat()
    record = Record(sha256=sha256, size=status.st_size, mtime_ns=status.st_mtime_ns, model=model)
    _change_records(lambda records: records | {key: record})


def drop_digest(model: str) -> None:
    """Remove the recorded digests of a model of the catalogue, whose file turned out to be something else.

    Raises:
        CheckpointError: the cache cannot be written.
    """
    if any(record.model == model for record in read_records().values()):
        _change_records(lambda records: {key: record for key, record in records.items() if record.model != model})


def _change_records(change: Callable[[dict[str, Record]], dict[str, Record]]) -> None:
    from filelock import FileLock

    target = digests_path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            records = change(read_records())
            write_json(target, {key: dataclasses.asdict(value) for key, value in sorted(records.items())})
    except OSError as error:
        raise CheckpointError(f"{target}: could not be written ({error.strerror or error}). {ANOTHER_CACHE}") from error
    except CheckpointError:
        raise
    except AllmlpError as error:
        raise CheckpointError(f"{error} {ANOTHER_CACHE}") from error


ANOTHER_CACHE = "Set ALLMLP_HOME to use another folder for downloads."


def is_unchanged(path: Path, record: Record) -> bool:
    """Whether a file is unchanged since its digest was recorded, by size and modification time, else by digest."""
    status = path.stat()
    if status.st_size != record.size:
        return False
    return status.st_mtime_ns == record.mtime_ns or sha256_of(path) == record.sha256


def _record(entry: Any) -> Record:
    record = Record(**entry)
    has_strings = isinstance(record.sha256, str) and isinstance(record.model, str | None)
    if not has_strings or type(record.size) is not int or type(record.mtime_ns) is not int:
        raise ValueError(f"invalid entry {str(entry)[:200]}")
    return record
