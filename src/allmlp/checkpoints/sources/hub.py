"""The Hugging Face hub: a repository's Mixer into the hub's cache, a folder to a repository.

huggingface_hub does the work, with its own cache and settings (HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE ...). It
does not look at what it downloaded: that is done here, against the SHA-256 that is a large file's ETag.
"""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILES
from allmlp.checkpoints.sources.digest_cache import is_unchanged, read_records, record_digest, sha256_of
from allmlp.errors import CheckpointError
from allmlp.io.display import summarise
from allmlp.io.download_folder import is_offline
from allmlp.io.http_download import without_secrets

__all__ = ["cached_weights", "check_upload", "fetch_card", "fetch_hub", "upload_folder"]

CONNECTION_TIMEOUT_S = 5.0

SHA256 = re.compile("[0-9a-f]{64}")


def fetch_hub(repository: str, *, revision: str | None = None, model: str | None = None) -> Path:
    """Return the folder with config.json and the weights of a repository on the hub, downloading what is not cached.

    `repository` is "owner/name", `revision` a branch, a tag or a commit (None: "main"). The weights are
    model.safetensors, or pytorch_model.bin where there is none. `model` is the repository's name in our catalogue, to
    be recorded with the digest.

    Raises:
        CheckpointError: no such repository, revision or files, no access, no network, or other content than promised.
    """
    with _clear_errors(repository, revision):
        if cached_weights(repository, revision or "main") is None:
            _check_connection()
        config = _download(repository, CONFIG_FILE, revision)
        # The rest from the same commit, even when somebody pushes in between.
        commit = config.parent.name
        weights = _download_weights(repository, commit)
        _check_content(repository, commit, weights, model)
    return config.parent


def cached_weights(repository: str, revision: str = "main") -> Path | None:
    """Return the weights of a repository in the hub's cache, None when they are not there."""
    from huggingface_hub import try_to_load_from_cache

    for name in WEIGHTS_FILES:
        path = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(path, str):
            return Path(path)
    return None


def check_upload(repository: str) -> None:
    """Refuse an upload that cannot be, before anything is prepared for it; asks nobody.

    Raises:
        CheckpointError: the network is forbidden, or there is no token.
    """
    from huggingface_hub import get_token

    if is_offline():
        raise CheckpointError(f"{repository}: HF_HUB_OFFLINE or ALLMLP_OFFLINE forbids to upload; unset it.")
    if get_token() is None:
        raise CheckpointError(f"{repository}: uploading needs a token of yours with the right to write. {LOG_IN}")


def fetch_card(repository: str, revision: str) -> str | None:
    """Return the README.md that an upload to this branch would replace, None where there is none.

    Raises:
        CheckpointError: no network, or an answer that is none of a hub.
    """
    from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    with _clear_errors(repository, revision):
        _check_connection()
        for branch in (revision, "main"):  # which a new branch begins as
            try:
                return _download(repository, "README.md", branch).read_text(encoding="utf-8", errors="replace")
            except RevisionNotFoundError:
                continue
            except (RemoteEntryNotFoundError, RepositoryNotFoundError):
                return None  # a token that is wrong is told by the upload
    return None


def upload_folder(directory: Path, repository: str, *, private: bool, revision: str, message: str) -> str:
    """Upload all files of a folder as one commit and return its URL. The repository and the branch are made if need be.

    Raises:
        CheckpointError: no token, no permission, no network, or a repository that is public though `private` is wished.
    """
    from huggingface_hub import HfApi

    check_upload(repository)
    api = HfApi()
    with _clear_errors(repository, revision), _bars_on_terminals_only():
        # private=None leaves the organisation's default in place.
        api.create_repo(repository, private=private or None, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise CheckpointError(
                f"hf:{repository}: is there already, and public: nothing was uploaded. Choose another name."
            )
        if revision != "main":
            api.create_branch(repository, branch=revision, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=directory, revision=revision, commit_message=message)
    return str(commit.commit_url)


LOG_IN = "Run `hf auth login`, or set HF_TOKEN (https://huggingface.co/settings/tokens)."


def _check_connection() -> None:
    """Ask the hub for any answer: huggingface_hub would try for half a minute to reach what is out of reach."""
    from huggingface_hub import constants, get_session

    if not is_offline():
        get_session().head(constants.ENDPOINT, timeout=CONNECTION_TIMEOUT_S)


def _download(repository: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repository, name, revision=revision, local_files_only=is_offline()))


def _download_weights(repository: str, commit: str) -> Path:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    cached = cached_weights(repository, commit)  # a commit never changes: no need to ask
    if cached is not None:
        return cached
    if is_offline():
        raise LocalEntryNotFoundError(f"{WEIGHTS_FILES[0]} is not cached")
    for name in WEIGHTS_FILES:
        with contextlib.suppress(RemoteEntryNotFoundError):
            return _download(repository, name, commit)
    files = HfApi().list_repo_files(repository, revision=commit)
    raise CheckpointError(
        f"hf:{repository}: the repository holds none of {', '.join(WEIGHTS_FILES)}, but "
        f"{summarise(files, limit=20) or 'nothing'}. Weights in several files, "
        "or in another format, must be downloaded and converted first."
    )


def _check_content(repository: str, commit: str, path: Path, model: str | None) -> None:
    """Compare the weights with the digest that the hub promises, unless that was done before."""
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
        who = "the hub promises" if promised else "an earlier download had"
        blob = path.parent / path.readlink() if path.is_symlink() else path
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise CheckpointError(
            f"hf:{repository}, {path.name}: what arrived has the SHA-256 {found}, {who} {expected}. It was "
            "damaged and has been removed from the cache; try again."
        )
    record_digest(key, path, found, model)


def _promised_sha256(path: Path) -> str | None:
    # A snapshot's file is a link to a blob that is named by its ETag: the SHA-256 of a large file, git's SHA-1 of a
    # small one. Where links are not to be had, the name is lost.
    name = path.readlink().name if path.is_symlink() else ""
    return name if SHA256.fullmatch(name) else None


@contextlib.contextmanager
def _clear_errors(repository: str, revision: str | None) -> Iterator[None]:
    import httpx2

    try:
        yield
    # ValueError: a name that cannot be, a card that the hub refuses, an answer that is none of a hub. RuntimeError: what
    # huggingface_hub wraps around a failed upload.
    except (OSError, httpx2.HTTPError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"hf:{repository}: {_explained(error, revision)}") from error


@contextlib.contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    """Keep huggingface_hub from drawing an upload's progress into logs; for downloads it looks itself."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or are_progress_bars_disabled() or os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS"):
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _explained(error: Exception, revision: str | None) -> str:
    import httpx2
    from huggingface_hub import constants, errors

    root = _root(error)
    where = _without_secrets(constants.ENDPOINT)
    match root:
        case errors.HFValidationError():
            return f"not the name of a repository; expected owner/name, such as timm/mixer_b16_224.goog_in21k ({root})."
        case errors.GatedRepoError():
            return f"its owner lets in only those who accept the conditions at {where}. Do so, then log in. {LOG_IN}"
        case errors.RepositoryNotFoundError():
            return f"{where} has no such repository, or it is private and this token does not open it. {LOG_IN}"
        case errors.RevisionNotFoundError():
            return f"there is no revision {revision!r} (any more); expected a branch, a tag or a whole commit."
        case errors.RemoteEntryNotFoundError():
            return f"it holds no {CONFIG_FILE}; expected a repository with {CONFIG_FILE} and {WEIGHTS_FILES[0]}."
        case errors.HfHubHTTPError():
            status = root.response.status_code
            said = f" ({_without_secrets(root.server_message)})" if root.server_message else ""
            if status in (401, 403):
                return f"{where} refused: {status}{said}. The token may be wrong or lack the right. {LOG_IN}"
            return f"{where} answered {status} to {root.response.url.path}{said}. Try again later."
        case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled() if is_offline():
            return (
                "not in the hub's cache, and HF_HUB_OFFLINE or ALLMLP_OFFLINE forbids to download it. Unset it, or copy "
                "the cache (HF_HOME) from a machine that has it."
            )
        case httpx2.HTTPError() | errors.LocalEntryNotFoundError() | errors.FileMetadataError():
            return (
                f"could not be reached at {where}: {_without_secrets(str(root)) or type(root).__name__}. Check the "
                "connection (behind a proxy, set HTTPS_PROXY), name a mirror with HF_ENDPOINT, or download the repository's "
                "folder elsewhere and give its path. HF_HUB_OFFLINE=1 takes what is cached without asking."
            )
    return f"{_without_secrets(str(root)).rstrip('.')}. Check the connection, and the space on the disk."


def _root(error: Exception) -> Exception:
    """Return what lies under the errors that huggingface_hub wraps around what a server or the network said."""
    import httpx2

    while isinstance(error.__cause__, Exception) and not isinstance(error, httpx2.HTTPError):
        error = error.__cause__
    return error


def _without_secrets(text: str) -> str:
    from huggingface_hub import get_token

    text = without_secrets(text)
    token = get_token()
    return text.replace(token, "***") if token else text
