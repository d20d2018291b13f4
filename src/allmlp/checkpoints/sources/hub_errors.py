"""Errors of the Hugging Face Hub, explained in sentences that say what to do."""

import contextlib
import http
from collections.abc import Iterator

from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILES
from allmlp.errors import CheckpointError
from allmlp.io.atomic_write import advice_for
from allmlp.io.cache_folder import is_offline
from allmlp.io.display import escape, shorten
from allmlp.io.http_client import Answer, NoAnswer, UnsafeAnswer, without_secrets

__all__ = ["LOG_IN", "explain_errors", "raise_for_status"]

LOG_IN = "Run `hf auth login`, or set HF_TOKEN (https://huggingface.co/settings/tokens)."


@contextlib.contextmanager
def explain_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Turn errors of the Hub, the network and the disk into a CheckpointError that names the repository."""
    import httpx2

    try:
        yield
    # ValueError: an invalid name, a card that the Hub refuses, a response that did not come from a Hub server.
    # RuntimeError: what huggingface_hub wraps around a failed upload.
    except (NoAnswer, UnsafeAnswer, OSError, httpx2.HTTPError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"hf:{escape(repository)}: {_explained(error, revision)}") from error


def raise_for_status(answer: Answer) -> None:
    """Raise huggingface_hub's error for an answer of the Hub that is not a success.

    Raises:
        HfHubHTTPError: what the Hub refuses; a subclass says why.
        UnsafeAnswer: any other status.
    """
    import httpx2
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    if answer.status == http.HTTPStatus.OK:
        return
    names = ("X-Error-Code", "X-Error-Message")
    texts = {
        name: answer.headers[name].encode("ascii", "backslashreplace").decode()
        for name in names
        if name in answer.headers
    }
    headers = {name: shorten(escape(text), 200) for name, text in texts.items()}
    if answer.status >= 400:
        hf_raise_for_status(httpx2.Response(answer.status, headers=headers, request=httpx2.Request("HEAD", answer.url)))
    raise UnsafeAnswer(f"it answered {answer.status} {answer.reason}".rstrip())


def _explained(error: Exception, revision: str | None) -> str:
    import httpx2
    from huggingface_hub import constants, errors

    root = _root(error)
    where = _without_secrets(constants.ENDPOINT)
    match root:
        case errors.HFValidationError():
            return (
                f"not a repository name; expected owner/name, such as timm/mixer_b16_224.goog_in21k ({escape(root)})."
            )
        case errors.GatedRepoError():
            return (
                f"access is limited to users who accept its conditions at {where}. Accept them, then log in. {LOG_IN}"
            )
        case errors.RepositoryNotFoundError():
            return f"{where} has no such repository, or it is private and your token has no access to it. {LOG_IN}"
        case errors.RevisionNotFoundError():
            return f"there is no revision {revision!r} (any more); expected a branch, a tag or a full commit hash."
        case errors.RemoteEntryNotFoundError():
            return f"it holds no {CONFIG_FILE}; expected a repository with {CONFIG_FILE} and {WEIGHTS_FILES[0]}."
        case errors.HfHubHTTPError():
            status = root.response.status_code
            detail = f" ({_without_secrets(root.server_message)})" if root.server_message else ""
            if status in (401, 403):
                return f"{where} denied access: {status}{detail}. The token may be wrong or lack permission. {LOG_IN}"
            return f"{where} answered {status} to {root.response.url.path}{detail}. Try again later."
        case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled() if is_offline():
            return (
                "not in the Hub's cache, and HF_HUB_OFFLINE or ALLMLP_OFFLINE forbids downloads. Unset it, or copy the "
                "cache (HF_HOME) from a machine that has it."
            )
        case UnsafeAnswer():
            return f"the answer of {where} is refused: {root}. If HF_ENDPOINT is set, check that this server can be trusted."
        case NoAnswer() | httpx2.HTTPError() | errors.LocalEntryNotFoundError() | errors.FileMetadataError():
            return (
                f"could not be reached at {where}: {_without_secrets(str(root)) or type(root).__name__}. Check the "
                "connection (behind a proxy, set HTTPS_PROXY), set HF_ENDPOINT to a mirror, or download the repository's "
                "folder elsewhere and give its path. HF_HUB_OFFLINE=1 uses only the cache."
            )
        case OSError() if root.filename is not None:
            return (
                f"{escape(root.filename)}: cannot be read or written ({root.strerror}). {advice_for(root)} "
                "HF_HOME names the folder of the Hub's cache."
            )
    return f"{_without_secrets(str(root)).rstrip('.')}. Check the connection and the free disk space."


def _root(error: Exception) -> Exception:
    """Return the error of the server or the network that huggingface_hub wrapped in its own."""
    import httpx2

    while isinstance(error.__cause__, Exception) and not isinstance(error, httpx2.HTTPError | NoAnswer | UnsafeAnswer):
        error = error.__cause__
    return error


def _without_secrets(text: str) -> str:
    from huggingface_hub import get_token

    text = without_secrets(text)
    token = get_token()
    return escape(text.replace(token, "***") if token else text)
