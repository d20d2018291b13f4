"""Upload of a folder to the Hugging Face Hub, and download of the model card that it would replace."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from allmlp.checkpoints.sources.hub_client import HubClient
from allmlp.checkpoints.sources.hub_errors import LOG_IN, explain_errors
from allmlp.errors import CheckpointError
from allmlp.io.cache_folder import is_offline
from allmlp.io.json_object import MAX_CONFIG_BYTES

__all__ = ["check_upload", "fetch_card", "upload_folder"]


def check_upload(repository: str) -> None:
    """Refuse an upload that cannot succeed before anything is prepared for it; uses no network.

    Raises:
        CheckpointError: the network is forbidden, or there is no access token.
    """
    from huggingface_hub import get_token

    if is_offline():
        raise CheckpointError(f"{repository}: HF_HUB_OFFLINE or ALLMLP_OFFLINE forbids uploads; unset it.")
    if get_token() is None:
        raise CheckpointError(f"{repository}: uploading needs an access token with write permission. {LOG_IN}")


def fetch_card(repository: str, revision: str) -> str | None:
    """Return the README.md that an upload to this branch would replace; None if the branch has no README.md.

    Raises:
        CheckpointError: no network, or a response that did not come from a Hub server.
    """
    from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    with explain_errors(repository, revision):
        hub = HubClient(repository)
        for branch in (revision, "main"):  # a new branch starts from main
            try:
                return hub.read(hub.look_up("README.md", branch), MAX_CONFIG_BYTES).decode("utf-8", "replace")
            except RevisionNotFoundError:
                continue
            except (RemoteEntryNotFoundError, RepositoryNotFoundError):
                return None  # the upload reports an invalid token
    return None


def upload_folder(directory: Path, repository: str, *, private: bool, revision: str, message: str) -> str:
    """Upload all files of a folder as one commit and return its URL; create the repository and the branch if needed.

    Raises:
        CheckpointError: no access token, no permission, no network, or the repository exists and is public although
            `private` is requested.
    """
    from huggingface_hub import HfApi

    check_upload(repository)
    api = HfApi()
    with explain_errors(repository, revision), _without_progress_bars():
        # private=None leaves the organisation's default in place.
        api.create_repo(repository, private=private or None, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise CheckpointError(
                f"hf:{repository}: the repository already exists and is public. Nothing was uploaded. Choose another name."
            )
        if revision != "main":
            api.create_branch(repository, branch=revision, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=directory, revision=revision, commit_message=message)
    return str(commit.commit_url)


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Keep huggingface_hub from drawing progress bars."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
