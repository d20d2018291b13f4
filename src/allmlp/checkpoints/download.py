"""Published weights by name: from the cache, or from the network into it. A file is there whole and checked, or not."""

import os
import zipfile
from pathlib import Path

from allmlp.checkpoints.cache import (
    ANOTHER_CACHE,
    cache_directory,
    digests_path,
    is_offline,
    is_unchanged,
    read_records,
    remember,
    sha256_of,
)
from allmlp.checkpoints.catalog import CATALOG, PublishedModel
from allmlp.checkpoints.http_file import receive, without_secrets
from allmlp.checkpoints.hub import cached_weights, fetch_hub
from allmlp.errors import CheckpointError

__all__ = ["fetch_hub", "fetch_published", "is_cached", "known_digest"]

BUCKET_URL = "https://storage.googleapis.com/mixer_models"


def fetch_published(model: PublishedModel, *, revision: str | None = None) -> Path:
    """Return the weights of a catalogue entry, downloading what is not in the cache.

    That is the authors' .npz file, or the hub's folder with config.json and model.safetensors. `revision` is a branch,
    a tag or a commit of the hub's repository.

    Raises:
        CheckpointError: not in the cache and not to be had, another content than the recorded one, or a revision of
            what has none.
    """
    if model.hub_repository is not None:
        # What the catalogue says of a repository holds for its newest revision.
        return fetch_hub(model.hub_repository, revision=revision, model=model.name if revision is None else None)
    if revision is not None:
        raise CheckpointError(f"{model.name}: the authors' files have no revisions; leave {revision!r} away.")
    return _fetch_file(model)


def is_cached(model: PublishedModel) -> bool:
    """Whether `fetch_published` would need no network."""
    if model.hub_repository is not None:
        return cached_weights(model.hub_repository) is not None
    return _file_path(model).is_file()


def known_digest(path: Path) -> PublishedModel | None:
    """Return the published model that a file is by its content, None when nothing tells.

    Only digests that are known or were recorded by a download tell; the file is not read unless its size fits one.

    Raises:
        CheckpointError: the record of digests, or the file, cannot be read.
    """
    size, digests = path.stat().st_size, {}
    for record in read_records().values():
        model = CATALOG.get(record.model or "")
        if record.size == size and model is not None:
            digests[record.sha256] = model
    digests |= {model.sha256: model for model in CATALOG.values() if model.sha256 is not None}
    if not digests:
        return None
    try:
        return digests.get(sha256_of(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _fetch_file(model: PublishedModel) -> Path:
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
                _download(model, path)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or path}: cannot be read or written ({error.strerror or error}). Free some space. "
            f"{ANOTHER_CACHE}"
        ) from error
    return path


def _download(model: PublishedModel, path: Path) -> None:
    url, part = _url(model), path.with_name(path.name + ".part")
    receive(url, part)
    digest = sha256_of(part)
    try:
        if not zipfile.is_zipfile(part):  # such as the page of a network that wants a login
            with part.open("rb") as file:
                start = file.read(60)
            raise CheckpointError(f"{without_secrets(url)}: this is no .npz file; it starts with {start!r}. Not kept.")
        _check_digest(model, url, digest)
        _to_disk(part)
        remember(_key(model), part, digest, model.name)
        part.replace(path)  # last, so that a file with this name is whole and its digest recorded
    finally:
        part.unlink(missing_ok=True)
        part.with_name(part.name + ".json").unlink(missing_ok=True)


def _check_digest(model: PublishedModel, url: str, digest: str) -> None:
    record = read_records().get(_key(model))
    expected = model.sha256 or (record.sha256 if record else digest)
    if digest == expected:
        return
    who = "is published" if model.sha256 else f"was recorded in {digests_path()} by an earlier download"
    raise CheckpointError(
        f"{without_secrets(url)}: what arrived has the SHA-256 {digest}, but {expected} {who}. It was damaged or "
        f"exchanged, and is not kept. Try again; if {model.name} was published anew, delete its entry "
        f"{_key(model)!r} from the record."
    )


def _is_sound(model: PublishedModel, path: Path) -> bool:
    if not path.is_file():
        return False
    record = read_records().get(_key(model))
    if record is not None and is_unchanged(path, record):
        return model.sha256 is None or record.sha256 == model.sha256
    digest = sha256_of(path)
    if digest != (model.sha256 or (record.sha256 if record else digest)):
        return False
    # Whole, as its name tells, and put there by hand or by a process that could not record it.
    remember(_key(model), path, digest, model.name)
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
    return f"{(os.environ.get('ALLMLP_MIXER_MODELS_URL') or BUCKET_URL).rstrip('/')}/{_key(model)}"
