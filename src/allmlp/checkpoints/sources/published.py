"""Published weights by name: from the cache, or from the network into it. A file is there whole and checked, or not."""

import contextlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from allmlp.checkpoints.sources.catalog import CATALOG, PublishedModel
from allmlp.checkpoints.sources.digest_cache import (
    ANOTHER_CACHE,
    Record,
    cache_directory,
    digests_path,
    drop_digest,
    is_unchanged,
    read_records,
    record_digest,
    sha256_of,
)
from allmlp.checkpoints.sources.hub import cached_weights, fetch_hub
from allmlp.errors import CheckpointError
from allmlp.io.download_folder import is_offline
from allmlp.io.http_download import ReportProgress, check_address, discard, receive

__all__ = ["fetch_hub", "fetch_published", "forget_published", "is_cached", "known_digest"]

BUCKET_URL = "https://storage.googleapis.com/mixer_models"


def fetch_published(model: PublishedModel, *, report_progress: ReportProgress | None = None) -> Path:
    """Return the weights of a catalogue entry, downloading what is not in the cache.

    That is the authors' .npz file, or the hub's folder with config.json and model.safetensors of the newest revision.
    `report_progress` takes the bytes that have arrived of a download, and its size.

    Raises:
        CheckpointError: not in the cache and not to be had, another content than the recorded one, or the content of
            another model.
    """
    if model.hub_repository is not None:
        return fetch_hub(model.hub_repository, model=model.name, report_progress=report_progress)
    return _fetch_file(model, report_progress)


def forget_published(model: PublishedModel, path: Path) -> str:
    """Drop the digest recorded for `model`, whose file at `path` is something else, and return what the user can do."""
    with contextlib.suppress(CheckpointError):  # the next download reports a record that cannot be changed
        drop_digest(model.name)
    if model.hub_repository is not None:
        return f"For whatever the repository holds, name its revision: hf:{model.hub_repository}@main."
    if path == _file_path(model):
        return "Delete the file, and it will be downloaded anew."
    return f"It was taken for {model.name} by its digest, which is not recorded any more: load it again as what it is."


def is_cached(model: PublishedModel) -> bool:
    """Whether `fetch_published` would need no network."""
    if model.hub_repository is not None:
        return cached_weights(model.hub_repository) is not None
    with contextlib.suppress(CheckpointError, OSError):  # no cache at all
        path = _file_path(model)
        return path.is_file() and path.stat().st_size > 0
    return False


def known_digest(path: Path) -> PublishedModel | None:
    """Return the published model that a file is by its content, None when nothing tells, or when two models claim it.

    Only digests that are known or were recorded by a download tell; the file is not read unless its size fits one. A
    record that cannot be read proves nothing.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        size = path.stat().st_size
        claims = [(model.sha256, model.name) for model in CATALOG.values() if model.sha256 is not None]
        with contextlib.suppress(CheckpointError):
            claims += [(one.sha256, one.model) for one in read_records().values() if one.size == size and one.model]
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
            state = "was changed since it was downloaded" if path.exists() else "is not in the cache"
            raise CheckpointError(
                f"{model.name}: {path} {state}, and ALLMLP_OFFLINE or HF_HUB_OFFLINE forbids to download it. Unset it, "
                "copy the file there from a machine that has it, or give the path of one."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not _is_sound(model, path):  # else another process was faster
                _download(model, path, report_progress)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or path}: cannot be read or written ({error.strerror or error}). Free some space. "
            f"{ANOTHER_CACHE}"
        ) from error
    return path


def _download(model: PublishedModel, path: Path, report_progress: ReportProgress | None) -> None:
    url, part = _url(model), path.with_name(path.name + ".part")
    records = read_records()  # an unreadable record is reported before minutes of waiting
    receive(url, part, report_progress=report_progress)
    digest = sha256_of(part)
    if not zipfile.is_zipfile(part):  # such as the page of a network that wants a login
        with part.open("rb") as file:
            start = file.read(60)
        discard(part)
        raise CheckpointError(f"{url}: this is no .npz file; it starts with {start!r}. Not kept.")
    if problem := _wrong_digest(model, digest, records):
        discard(part)
        raise CheckpointError(f"{url}: what arrived has the SHA-256 {digest}, but {problem}")
    _to_disk(part)
    record_digest(_key(model), part, digest, model.name)
    part.replace(path)  # last, so that a file with this name is whole and its digest recorded
    discard(part)


def _wrong_digest(model: PublishedModel, digest: str, records: Mapping[str, Record]) -> str:
    """Return what speaks against a digest, or ""."""
    record = records.get(_key(model))
    expected = model.sha256 or (record.sha256 if record else digest)
    if digest != expected:
        who = "is published" if model.sha256 else f"was recorded in {digests_path()} by an earlier download"
        return (
            f"{expected} {who}. It was damaged or exchanged, and is not kept. Try again; if {model.name} was published "
            f"anew, delete its entry {_key(model)!r} from the record."
        )
    for key, other in records.items():
        if other.sha256 == digest and other.model not in (None, model.name):
            return (
                f"{digests_path()} records that for {other.model}, so that it is not {model.name}. Not kept. If "
                f"{other.model} is what was wrong, delete its file and its entry {key!r} from the record."
            )
    return ""


def _is_sound(model: PublishedModel, path: Path) -> bool:
    """Whether the cache holds the model's file, by its digest where one is known.

    Nothing is recorded of a file without one: it was put there by hand, and may turn out to be no such model.

    Raises:
        CheckpointError: it is another published model's.
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
            f"{path}: this is {other.name} by its SHA-256, not {model.name}. Delete the file, and it will be downloaded."
        )
    return True


def _to_disk(path: Path) -> None:
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
