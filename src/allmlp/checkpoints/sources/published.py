"""Published weights by name, from the cache or downloaded into it. A download in the cache is complete and checked."""

import contextlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from allmlp.checkpoints.sources.catalog import CATALOG, PublishedModel, max_weight_bytes
from allmlp.checkpoints.sources.digest_cache import (
    ANOTHER_CACHE,
    Record,
    cache_directory,
    digests_path,
    drop_digest,
    is_unchanged,
    read_records,
    record_digest,
)
from allmlp.checkpoints.sources.hub import cached_weights, fetch_hub
from allmlp.errors import CheckpointError
from allmlp.io.atomic_write import advice_for
from allmlp.io.cache_folder import is_offline
from allmlp.io.display import escape
from allmlp.io.file_kinds import sha256_of
from allmlp.io.http_download import ReportProgress, check_address, discard, receive

__all__ = ["fetch_hub", "fetch_published", "forget_published", "is_cached", "known_digest"]

BUCKET_URL = "https://storage.googleapis.com/mixer_models"


def fetch_published(model: PublishedModel, *, report_progress: ReportProgress | None = None) -> Path:
    """Return the path of the weights of a catalogue entry, downloading what is not in the cache.

    The path is the authors' .npz file, or the folder with config.json and model.safetensors of the newest revision on the
    Hub. `report_progress` takes the number of bytes downloaded so far and the total.

    Raises:
        CheckpointError: not in the cache and unavailable, or the content differs from what was recorded or belongs to
            another model.
    """
    if model.hub_repository is not None:
        return fetch_hub(model.hub_repository, model=model.name, report_progress=report_progress)
    return _fetch_file(model, report_progress)


def forget_published(model: PublishedModel, path: Path) -> str:
    """Drop the digest recorded for `model`, whose file at `path` is something else, and return advice for the user."""
    with contextlib.suppress(CheckpointError):  # the next download reports a record that cannot be changed
        drop_digest(model.name)
    if model.hub_repository is not None:
        return f"To load whatever the repository holds, give its revision: hf:{model.hub_repository}@main."
    if path == _file_path(model):
        return "Delete the file to download it again."
    return f"A recorded digest identified it as {model.name}. The record has been removed; load the file again."


def is_cached(model: PublishedModel) -> bool:
    """Whether `fetch_published` works without the network."""
    if model.hub_repository is not None:
        return cached_weights(model.hub_repository) is not None
    with contextlib.suppress(CheckpointError, OSError):  # there may be no cache
        path = _file_path(model)
        return path.is_file() and path.stat().st_size > 0
    return False


def known_digest(path: Path) -> PublishedModel | None:
    """Return the published model with the digest of this file; None if there is none, or more than one.

    Digests are known from the catalogue or recorded by a download; without a digest that may match, the file is not read.
    A record that cannot be read is ignored.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        size = path.stat().st_size
        claims = [(model.sha256, model.name) for model in CATALOG.values() if model.sha256 is not None]
        with contextlib.suppress(CheckpointError):
            records = read_records().values()
            claims += [(record.sha256, record.model) for record in records if record.size == size and record.model]
        digest = sha256_of(path) if claims else ""
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}).") from error
    names = {name for claimed, name in claims if claimed == digest}
    return CATALOG.get(names.pop()) if len(names) == 1 else None


def _fetch_file(model: PublishedModel, report_progress: ReportProgress | None) -> Path:
    from filelock import FileLock

    path = _file_path(model)
    try:
        if _is_sound(model, path):
            return path
        if is_offline():
            state = "has changed since it was downloaded" if path.exists() else "is not in the cache"
            raise CheckpointError(
                f"{model.name}: {path} {state}, and ALLMLP_OFFLINE or HF_HUB_OFFLINE forbids downloads. Unset it, copy the "
                "file there from a machine that has it, or give the path of a copy."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not _is_sound(model, path):  # else another process was faster
                _download(model, path, report_progress)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or path}: cannot be read or written ({error.strerror or error}). {advice_for(error)} "
            f"{ANOTHER_CACHE}"
        ) from error
    return path


def _download(model: PublishedModel, path: Path, report_progress: ReportProgress | None) -> None:
    url, part = _url(model), path.with_name(path.name + ".part")
    records = read_records()  # an unreadable record is reported before the long download
    receive(
        url,
        part,
        max_bytes=max_weight_bytes(model),
        report_progress=report_progress,
        advice="Check the connection (behind a proxy, set HTTPS_PROXY), set ALLMLP_MIXER_MODELS_URL to a mirror, or download "
        f"the file elsewhere and put it at {escape(path)}, where it keeps its class names.",
    )
    digest = sha256_of(part)
    if not zipfile.is_zipfile(part):  # such as the login page of a network
        with part.open("rb") as file:
            start = file.read(60)
        discard(part)
        raise CheckpointError(f"{url}: this is not an .npz file; it starts with {start!r}. It was discarded.")
    if problem := _digest_problem(model, digest, records):
        discard(part)
        raise CheckpointError(f"{url}: the file has the SHA-256 {digest}, but {problem}")
    _flush_to_disk(part)
    record_digest(_key(model), part, digest, model.name)
    part.replace(path)  # last: a file with this name is complete and its digest recorded
    discard(part)


def _digest_problem(model: PublishedModel, digest: str, records: Mapping[str, Record]) -> str:
    """Return why a digest is not that of `model`, or ""."""
    record = records.get(_key(model))
    expected = model.sha256 or (record.sha256 if record else digest)
    if digest != expected:
        origin = "is published" if model.sha256 else f"was recorded in {digests_path()} by an earlier download"
        return (
            f"{expected} {origin}. The file was damaged or replaced, and was discarded. Try again. If {model.name} was "
            f"published again, delete its entry {_key(model)!r} from the record."
        )
    for key, other in records.items():
        if other.sha256 == digest and other.model not in (None, model.name):
            return (
                f"{digests_path()} records this digest for {other.model}. The file is not {model.name} and was discarded. If "
                f"that of {other.model} is the wrong one, delete it and its entry {key!r} in the record."
            )
    return ""


def _is_sound(model: PublishedModel, path: Path) -> bool:
    """Whether the cache holds the model's file, verified by its digest if one is known.

    A file without a known digest is not recorded: it was put there by hand and may turn out to be something else.

    Raises:
        CheckpointError: the file belongs to another published model.
    """
    if not path.is_file() or not path.stat().st_size:
        return False
    record = read_records().get(_key(model))
    if record is not None and is_unchanged(path, record):
        return model.sha256 is None or record.sha256 == model.sha256
    if record is not None or model.sha256 is not None:
        return sha256_of(path) == (model.sha256 or (record.sha256 if record else ""))
    other = known_digest(path)
    if other is not None and other is not model:
        raise CheckpointError(
            f"{path}: this is {other.name} by its SHA-256, not {model.name}. Delete the file to download it again."
        )
    return True


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _key(model: PublishedModel) -> str:
    assert model.url_path is not None
    return model.url_path


def _file_path(model: PublishedModel) -> Path:
    return cache_directory() / "mixer_models" / _key(model)


def _url(model: PublishedModel) -> str:
    mirror = os.environ.get("ALLMLP_MIXER_MODELS_URL")
    if mirror:
        check_address(mirror, what="ALLMLP_MIXER_MODELS_URL")
    return f"{(mirror or BUCKET_URL).rstrip('/')}/{_key(model)}"
