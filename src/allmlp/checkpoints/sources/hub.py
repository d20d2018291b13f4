"""Download of a Mixer from the Hugging Face Hub into the Hub's cache.

huggingface_hub does the work, with its own cache and settings (HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE ...). It
does not verify what it downloads: that is done here, against the SHA-256 that is the ETag of a large file.
"""

import contextlib
import re
from pathlib import Path
from typing import Any

from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILES
from allmlp.checkpoints.sources.digest_cache import is_unchanged, read_records, record_digest, sha256_of
from allmlp.checkpoints.sources.hub_errors import explain_errors
from allmlp.errors import CheckpointError
from allmlp.io.display import summarise
from allmlp.io.download_folder import is_offline
from allmlp.io.http_download import ReportProgress

__all__ = ["cached_weights", "check_connection", "fetch_hub", "silent_download"]

CONNECTION_TIMEOUT_S = 5.0

SHA256 = re.compile("[0-9a-f]{64}")


def fetch_hub(
    repository: str,
    *,
    revision: str | None = None,
    model: str | None = None,
    report_progress: ReportProgress | None = None,
) -> Path:
    """Return the folder with config.json and the weights of a repository on the Hub, downloading what is not cached.

    `repository` is "owner/name", `revision` a branch, a tag or a commit (None: "main"). The weights are
    model.safetensors, or else pytorch_model.bin. `model` is the repository's name in our catalogue, to be recorded with the
    digest. `report_progress` takes the number of bytes of the weights downloaded so far and the total.

    Raises:
        CheckpointError: no such repository, revision or files, no access, no network, or content with another digest than
            the Hub promises.
    """
    with explain_errors(repository, revision):
        if cached_weights(repository, revision or "main") is None:
            check_connection()
        config = silent_download(repository, CONFIG_FILE, revision)
        # The weights come from the same commit, even if somebody pushes in between.
        commit = config.parent.name
        weights = _download_weights(repository, commit, report_progress)
        _check_content(repository, commit, weights, model)
    return config.parent


def cached_weights(repository: str, revision: str = "main") -> Path | None:
    """Return the path of a repository's weights in the Hub's cache; None if they are not cached."""
    from huggingface_hub import try_to_load_from_cache

    for name in WEIGHTS_FILES:
        path = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(path, str):
            return Path(path)
    return None


def check_connection() -> None:
    """Check that the Hub answers, unless offline: huggingface_hub would retry an unreachable Hub for half a minute."""
    from huggingface_hub import constants, get_session

    if not is_offline():
        get_session().head(constants.ENDPOINT, timeout=CONNECTION_TIMEOUT_S)


def silent_download(
    repository: str, name: str, revision: str | None, report_progress: ReportProgress | None = None
) -> Path:
    """Return one file of a repository, downloaded without huggingface_hub's progress bar."""
    from huggingface_hub import hf_hub_download

    bar = _silent_bar(report_progress)
    path = hf_hub_download(repository, name, revision=revision, local_files_only=is_offline(), tqdm_class=bar)
    return Path(path)


def _silent_bar(report_progress: ReportProgress | None) -> Any:
    """Return a progress bar class that draws nothing and calls `report_progress` instead."""
    from huggingface_hub.utils.tqdm import tqdm

    class SilentBar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if report_progress is not None and self.total:
                report_progress(int(self.n), int(self.total))

    return SilentBar


def _download_weights(repository: str, commit: str, report_progress: ReportProgress | None) -> Path:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    cached = cached_weights(repository, commit)  # a commit never changes, so the Hub need not be asked
    if cached is not None:
        return cached
    if is_offline():
        raise LocalEntryNotFoundError(f"{WEIGHTS_FILES[0]} is not cached")
    for name in WEIGHTS_FILES:
        with contextlib.suppress(RemoteEntryNotFoundError):
            return silent_download(repository, name, commit, report_progress)
    files = HfApi().list_repo_files(repository, revision=commit)
    raise CheckpointError(
        f"hf:{repository}: the repository holds neither {' nor '.join(WEIGHTS_FILES)}. "
        f"Its files are: {summarise(files, limit=20) or 'none'}. Weights in several files, or in another format, "
        "must be downloaded and converted first."
    )


def _check_content(repository: str, commit: str, path: Path, model: str | None) -> None:
    """Check the weights against the digest that the Hub promises, unless that was done before."""
    key = f"{repository}@{commit}/{path.name}"
    record = read_records().get(key)
    if record is not None and is_unchanged(path, record):
        if model is not None and record.model is None:
            record_digest(key, path, record.sha256, model)
        return
    promised = _promised_sha256(path)
    expected = promised or (record.sha256 if record else None)
    found = sha256_of(path)
    if expected is not None and found != expected:
        who = "the Hub promises" if promised else "an earlier download had"
        blob = path.parent / path.readlink() if path.is_symlink() else path
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise CheckpointError(
            f"hf:{repository}, {path.name}: the file has the SHA-256 {found}, but {who} {expected}. It was "
            "damaged and has been removed from the cache; try again."
        )
    record_digest(key, path, found, model)


def _promised_sha256(path: Path) -> str | None:
    # A file in the Hub's cache is a link to a blob named by its ETag: the SHA-256 of a large file, git's SHA-1 of a small
    # one. On file systems without links the name is lost.
    name = path.readlink().name if path.is_symlink() else ""
    return name if SHA256.fullmatch(name) else None
