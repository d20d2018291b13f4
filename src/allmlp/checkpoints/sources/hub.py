"""Download of a Mixer from the Hugging Face Hub into the Hub's cache.

Names, tokens, settings (HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE ...) and the layout of the cache are huggingface_hub's,
but the requests are ours. huggingface_hub uses what a server answers as paths and believes its digests (docs/security.md);
here, an answer is checked first, and a file enters the cache only if it has the digest that the Hub announced.
"""

import contextlib
from pathlib import Path

from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILES
from allmlp.checkpoints.sources.catalog import CATALOG, max_weight_bytes
from allmlp.checkpoints.sources.digest_cache import is_unchanged, read_records, record_digest
from allmlp.checkpoints.sources.hub_cache import COMMIT, HubCache, check_revision, matches_digest
from allmlp.checkpoints.sources.hub_client import HubClient, RemoteFile
from allmlp.checkpoints.sources.hub_errors import explain_errors
from allmlp.errors import CheckpointError
from allmlp.io.cache_folder import is_offline
from allmlp.io.display import summarise
from allmlp.io.file_kinds import sha256_of
from allmlp.io.http_client import NoAnswer, Patience, UnsafeAnswer
from allmlp.io.http_download import MAX_FILE_BYTES, ReportProgress, discard
from allmlp.io.json_object import MAX_CONFIG_BYTES

__all__ = ["cached_weights", "fetch_hub"]


def fetch_hub(
    repository: str,
    *,
    revision: str | None = None,
    model: str | None = None,
    report_progress: ReportProgress | None = None,
    patience: Patience | None = None,
) -> Path:
    """Return the folder with config.json and the weights of a repository on the Hub, downloading what is not cached.

    `repository` is "owner/name", `revision` a branch, a tag or a commit (None: "main"). The weights are
    model.safetensors, or else pytorch_model.bin. `model` is the repository's name in our catalogue, to be recorded with the
    digest. `report_progress` takes the number of bytes of the weights downloaded so far and the total.
    `patience` is for each request (None: Patience(), with huggingface_hub's timeout).

    Raises:
        CheckpointError: no such repository, revision or files, no access, no network, too large a file, or content with
            another digest than the Hub promises.
    """
    with explain_errors(repository, revision):
        check_revision(revision or "main")
        hub, cache = HubClient(repository, patience), HubCache(repository)
        config = _fetch_config(hub, cache, revision or "main")
        # The weights come from the same commit, even if somebody pushes in between.
        commit = config.parent.name
        max_bytes = MAX_FILE_BYTES if model is None else max_weight_bytes(CATALOG[model])
        weights = _fetch_weights(hub, cache, commit, max_bytes, report_progress)
        _check_content(cache, f"{repository}@{commit}/{weights.name}", weights, model)
    return config.parent


def cached_weights(repository: str, revision: str = "main") -> Path | None:
    """Return the path of a repository's weights in the Hub's cache; None if they are not cached."""
    cache = HubCache(repository)
    return next((path for name in WEIGHTS_FILES if (path := cache.find(name, revision)) is not None), None)


def _fetch_config(hub: HubClient, cache: HubCache, revision: str) -> Path:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RemoteEntryNotFoundError
    from huggingface_hub.errors import RevisionNotFoundError as NoRevisionError

    cached = cache.find(CONFIG_FILE, revision)
    if cached is not None and (is_offline() or COMMIT.fullmatch(revision)):  # a commit never changes
        return _checked(hub, cache, cached)
    if is_offline():
        raise LocalEntryNotFoundError(f"{CONFIG_FILE} is not cached")
    try:
        remote = hub.look_up(CONFIG_FILE, revision, retry=cached is None)
    except (NoAnswer, HfHubHTTPError) as error:
        if cached is None or isinstance(error, RemoteEntryNotFoundError | NoRevisionError):
            raise
        return _checked(hub, cache, cached)
    found = cache.find(CONFIG_FILE, remote.commit)
    if found is None or (cache.digest_of(found) is None and not matches_digest(found, remote.digest)):
        found = cache.keep(CONFIG_FILE, remote.commit, remote.digest, hub.read(remote, MAX_CONFIG_BYTES))
    cache.remember(revision, remote.commit)
    return _checked(hub, cache, found)


def _fetch_weights(
    hub: HubClient, cache: HubCache, commit: str, max_bytes: int, report_progress: ReportProgress | None
) -> Path:
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    cached = next((path for name in WEIGHTS_FILES if (path := cache.find(name, commit)) is not None), None)
    if cached is not None:
        return cached
    if is_offline():
        raise LocalEntryNotFoundError(f"{WEIGHTS_FILES[0]} is not cached")
    for name in WEIGHTS_FILES:
        with contextlib.suppress(RemoteEntryNotFoundError):
            return _download(hub, cache, hub.look_up(name, commit), max_bytes, report_progress)
    raise CheckpointError(
        f"hf:{hub.repository}: the repository holds neither {' nor '.join(WEIGHTS_FILES)}. "
        f"Its files are: {summarise(hub.list_files(commit), limit=20) or 'unknown'}. Weights in several files, or in "
        "another format, must be downloaded and converted first."
    )


def _download(
    hub: HubClient, cache: HubCache, remote: RemoteFile, max_bytes: int, report_progress: ReportProgress | None
) -> Path:
    """Download a large file into the cache, unless its content is already there."""
    if remote.size is not None and remote.size > max_bytes:
        raise UnsafeAnswer(f"{remote.name} has {remote.size:,} bytes, more than the limit of {max_bytes:,}")
    with cache.incomplete(remote.digest) as part:
        if cache.blob(remote.digest) is not None:
            return cache.link(remote.name, remote.commit, remote.digest)
        where = f"hf:{hub.repository}, {remote.name}"
        try:
            hub.receive(remote, part, max_bytes=max_bytes, report_progress=report_progress)
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from error
        if not matches_digest(part, remote.digest):
            discard(part)
            raise CheckpointError(
                f"{where}: the Hub promises {remote.digest}, but the content that arrived has another digest. It was damaged "
                "or replaced and is not kept; try again."
            )
        path = cache.keep(remote.name, remote.commit, remote.digest, part)
        discard(part)
        return path


def _checked(hub: HubClient, cache: HubCache, path: Path) -> Path:
    """Compare a cached file with its digest."""
    promised = cache.digest_of(path)
    if promised is None:
        _check_content(cache, f"{hub.repository}@{path.parent.name}/{path.name}", path, None)
    elif not matches_digest(path, promised):
        cache.remove(path)
        raise CheckpointError(
            f"{path.name} in the Hub's cache does not have its digest {promised}. It was damaged and has been removed; try "
            "again."
        )
    return path


def _check_content(cache: HubCache, key: str, path: Path, model: str | None) -> None:
    """Compare the weights with the digest that the Hub promises, unless that was done before."""
    record = read_records().get(key)
    promised = cache.digest_of(path)
    is_promised = record is not None and promised in (None, record.sha256)
    if record is not None and is_promised and is_unchanged(path, record):
        if model is not None and record.model is None:
            record_digest(key, path, record.sha256, model)
        return
    found = sha256_of(path)
    is_sound = matches_digest(path, promised) if promised else record is None or found == record.sha256
    if not is_sound:
        who = "the Hub promises" if promised else "an earlier download had"
        expected = promised or (record.sha256 if record else "")
        cache.remove(path)
        raise CheckpointError(
            f"hf:{key}: the file has the SHA-256 {found}, but {who} {expected}. It was damaged and has been removed from the "
            "cache; try again."
        )
    record_digest(key, path, found, model)
