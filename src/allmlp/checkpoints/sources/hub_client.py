"""Requests to the Hugging Face Hub, or to the server that HF_ENDPOINT names. Answers are checked before anything uses them."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote as quote_url

from allmlp import __version__
from allmlp.checkpoints.sources.hub_cache import COMMIT, DIGEST, matches_digest
from allmlp.checkpoints.sources.hub_errors import raise_for_status
from allmlp.io.display import quote
from allmlp.io.http_client import MAX_REDIRECTS, Answer, NoAnswer, Patience, UnsafeAnswer, ask, origin, size_in
from allmlp.io.http_download import ReportProgress, receive

__all__ = ["HubClient", "RemoteFile"]

MAX_TRIES = 3
MAX_LISTING_BYTES = 1 << 22

_ETAG = re.compile(rf'(?:W/)?(["]?)({DIGEST.pattern})\1')
_HUB = "https://huggingface.co"

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file on the Hub: where its content is, and its digest, which names it in the cache."""

    name: str
    url: str
    commit: str
    digest: str
    size: int | None


class HubClient:
    """Requests for the files of one repository.

    Its methods raise the errors that `explain_errors` explains: NoAnswer, UnsafeAnswer and huggingface_hub's.
    """

    def __init__(self, repository: str, patience: Patience | None = None) -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        validate_repo_id(repository)
        self.repository = repository
        self._patience = patience or Patience(pause_s=constants.HF_HUB_DOWNLOAD_TIMEOUT)

    def look_up(self, name: str, revision: str, *, retry: bool = True) -> RemoteFile:
        """Ask about a file, without its content; `retry`: again if the connection fails."""
        return self._patiently(lambda: self._look_up(name, revision), tries=MAX_TRIES if retry else 1)

    def _look_up(self, name: str, revision: str) -> RemoteFile:
        from huggingface_hub import constants

        url = f"{constants.ENDPOINT}/{self.repository}/resolve/{quote_url(revision, safe='')}/{name}"
        for _ in range(MAX_REDIRECTS):
            with ask(url, method="HEAD", headers_for=_headers, patience=self._patience, follow=False) as answer:
                target = answer.redirect
                if not target:
                    raise_for_status(answer)
                # A large file is described by the answer that redirects to the host of its content.
                if not target or (origin(target) != origin(url) and "X-Repo-Commit" in answer.headers):
                    return _described(answer, name, target or url, revision)
            url = target
        raise UnsafeAnswer(f"the server redirects more than {MAX_REDIRECTS} times")

    def read(self, remote: RemoteFile, max_bytes: int) -> bytes:
        """Return the content of a small file, verified."""

        def read() -> bytes:
            with ask(remote.url, headers_for=_headers, patience=self._patience) as answer:
                raise_for_status(answer)
                content = b"".join(answer.blocks(max_bytes))
                if len(content) < (size_in(answer.headers.get("Content-Length")) or 0):
                    raise NoAnswer("the connection was cut")
                return content

        content = self._patiently(read)
        if not matches_digest(content, remote.digest):
            raise UnsafeAnswer(
                f"the Hub promises {remote.digest}, but the content of {remote.name} that arrived has another digest"
            )
        return content

    def receive(
        self, remote: RemoteFile, part: Path, *, max_bytes: int, report_progress: ReportProgress | None
    ) -> None:
        """Download a large file to `part`; its digest is not checked."""
        receive(
            remote.url,
            part,
            max_bytes=max_bytes,
            headers_for=_headers,
            patience=self._patience,
            report_progress=report_progress,
            advice="Check the connection and try again.",
        )

    def list_files(self, commit: str) -> list[str]:
        """Return the names of a repository's files, for a message; none if the Hub does not list them."""
        from huggingface_hub import constants

        url = f"{constants.ENDPOINT}/api/models/{self.repository}/tree/{commit}?recursive=True"
        with contextlib.suppress(NoAnswer, UnsafeAnswer, ValueError, TypeError, KeyError, RecursionError):
            with ask(url, headers_for=_headers, patience=self._patience) as answer:
                entries = json.loads(b"".join(answer.blocks(MAX_LISTING_BYTES)))
            return [str(entry["path"])[:200] for entry in entries]
        return []

    def _patiently(self, request: Callable[[], Result], *, tries: int = MAX_TRIES) -> Result:
        for number in range(tries - 1):
            with contextlib.suppress(NoAnswer):
                return request()
            time.sleep(self._patience.retry_s * 2**number)
        return request()


def _described(answer: Answer, name: str, url: str, revision: str) -> RemoteFile:
    headers = answer.headers
    commit = headers.get("X-Repo-Commit", "")
    etag = headers.get("X-Linked-ETag") or headers.get("ETag") or ""
    if not COMMIT.fullmatch(commit) or (COMMIT.fullmatch(revision) and commit != revision):
        raise UnsafeAnswer(f"it names no commit of the requested revision: X-Repo-Commit is {quote(commit)}")
    digest = _ETAG.fullmatch(etag)
    if digest is None:
        raise UnsafeAnswer(f"it names no digest of the file: the ETag is {quote(etag)}")
    size = size_in(headers.get("X-Linked-Size") or (None if answer.redirect else headers.get("Content-Length")))
    return RemoteFile(name=name, url=url, commit=commit, digest=digest[2], size=size)


def _headers(url: str) -> Mapping[str, str]:
    """Return the headers for a URL: the token goes to the Hub and to the server of HF_ENDPOINT, and to no other host."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    knows_token = origin(url) in (origin(constants.ENDPOINT), origin(_HUB))
    headers: Mapping[str, str] = build_hf_headers(
        token=None if knows_token else False, library_name="allmlp", library_version=__version__
    )
    return headers
