"""Download of one file over HTTP. A broken connection keeps the bytes received, and only the rest is requested again."""

import base64
import contextlib
import hashlib
import http.client
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from allmlp import __version__
from allmlp.errors import CheckpointError

__all__ = ["ReportProgress", "check_address", "discard", "receive", "without_secrets"]

ReportProgress = Callable[[int, int], None]
"""Callback that takes the number of bytes received and the size of the file."""

TIMEOUT_S = 30.0  # for connecting, and for any pause in the data
MAX_TRIES = 3  # consecutive tries that each received less than PROGRESS_BYTES
PROGRESS_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
# Temporary problems of the server; any other 4xx is permanent.
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class _Version:
    """A version of the content at a URL: its validator (RFC 9110, 8.8) and its size.

    `md5` holds the digests that the server announces, in base64, if any; a download has to match one of them.
    """

    validator: str
    size: int
    md5: tuple[str, ...] = field(default=(), compare=False)


class _Interrupted(Exception):  # noqa: N818 (not an error yet: the download is tried again)
    """The connection failed, or the server asked to retry."""


def check_address(url: str, *, what: str) -> None:
    """Check that `url` is a plain HTTP address.

    Raises:
        CheckpointError: a scheme other than http and https, no host, a user or password, or a query. The message starts
            with `what` and does not show an address that may hold a secret.
    """
    expected = (
        "expected an address with http:// or https://, such as https://HOST/PATH, without user, password or query."
    )
    try:
        parts = urllib.parse.urlsplit(url)
        is_plain = "@" not in url and not parts.query and not parts.fragment and url.isprintable() and " " not in url
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname)
        (parts.hostname or "").encode("idna")
        _ = parts.port
    except ValueError as error:  # or UnicodeError, which is one
        # The part that cannot be parsed, such as a port that is a word, may be a password.
        raise CheckpointError(f"{what} is not a valid address; {expected}") from error
    if not is_plain:
        raise CheckpointError(f"{what} is not a plain address; {expected}")
    if not is_http:
        raise CheckpointError(f"{what} is {url}, which is not an HTTP address; {expected}")


def receive(
    url: str, part: Path, *, timeout_s: float = TIMEOUT_S, report_progress: ReportProgress | None = None
) -> None:
    """Download `url` to `part`, continuing after the bytes already in it if they belong to the same content.

    On return `part` has the size that the server announced and, if the server announces an MD5 (x-goog-hash), that digest.
    The caller verifies other digests, renames the file, and ensures that no other process downloads it at the same time.
    `report_progress` is called after each chunk.

    Raises:
        CheckpointError: the network or the server failed; the bytes received stay in `part` for the next call.
        OSError: `part` cannot be written.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    tries = 0
    while True:
        before = _size(part)
        try:
            _receive_rest(url, part, timeout_s, report_progress)
            return
        except _Interrupted as error:
            tries = 1 if _size(part) - before >= PROGRESS_BYTES else tries + 1
            if tries >= MAX_TRIES:
                raise CheckpointError(_failure(url, part, str(error))) from error
            time.sleep(0.25 * 2**tries)


def without_secrets(text: str) -> str:
    """Return `text` without the users, passwords and queries of its addresses, which may hold keys."""
    text = re.sub(r"://[^/\s@]*@", "://", text)
    return re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1", text)


def _receive_rest(url: str, part: Path, timeout_s: float, report_progress: ReportProgress | None) -> None:
    version = _read_version(part)
    num_kept = _size(part) if version is not None and _size(part) <= version.size else 0
    if version is not None and num_kept == version.size:  # the process ended before the file was renamed
        _check_md5(url, part, version.md5)
        return
    if not num_kept:
        discard(part)  # of unknown content, or longer than its content
    with _open(url, num_kept, version, part, timeout_s) as response:
        served, start = _version_of(url, response.status, response.headers)
        if response.status == http.HTTPStatus.PARTIAL_CONTENT and (served != version or start != num_kept):
            # A server that ignores If-Range sends the end of different content.
            discard(part)
            raise _Interrupted("the file has changed on the server")
        if num_kept and response.status == http.HTTPStatus.OK:  # changed, or ranges are unsupported: all of it follows
            discard(part)
        _write_version(part, served)
        _copy(response, part, served.size, report_progress)
        if _size(part) != served.size:
            size = _size(part)
            if size > served.size:
                discard(part)
            raise _Interrupted(f"the connection was cut after {size:,} of {served.size:,} bytes")
        _check_md5(url, part, served.md5)


def _open(url: str, num_kept: int, version: _Version | None, part: Path, timeout_s: float) -> Any:
    # If the server compressed the response, sizes and ranges would not be the file's.
    headers = {"User-Agent": f"allmlp/{__version__}", "Accept-Encoding": "identity"}
    if num_kept and version is not None:
        headers |= {"Range": f"bytes={num_kept}-", "If-Range": version.validator}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            discard(part)
            raise _Interrupted("the server refused to resume the download") from error
        if error.code in TRANSIENT_STATUS:
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
        raise CheckpointError(_failure(url, part, f"the server answered {error.code} {error.reason}")) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise _Interrupted(str(getattr(error, "reason", error)) or type(error).__name__) from error
    except ValueError as error:  # redirected to an invalid URL
        raise CheckpointError(_failure(url, part, f"the server redirects to an invalid URL ({error})")) from error


def _version_of(url: str, status: int, headers: Message) -> tuple[_Version, int]:
    """Return the version of the content in a response, and the offset at which the response starts."""
    etag = headers.get("ETag", "")
    # A weak ETag does not guarantee identical bytes.
    validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")
    try:
        if status == http.HTTPStatus.PARTIAL_CONTENT:  # "bytes 100-199/200"
            byte_range, _, size = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            return _Version(validator, int(size), _md5_in(headers)), int(byte_range.partition("-")[0])
        return _Version(validator, int(headers.get("Content-Length", "")), _md5_in(headers)), 0
    except ValueError as error:
        raise CheckpointError(
            f"{without_secrets(url)}: the server does not announce the size of the file, so a truncated download could not "
            "be detected. Download it with a browser and give its path."
        ) from error


def _copy(response: Any, part: Path, size: int, report_progress: ReportProgress | None) -> None:
    num_received = _size(part)
    with part.open("ab") as file:
        while True:
            try:
                chunk = response.read1(CHUNK_BYTES)  # the bytes available, so that a broken connection loses none
            except (OSError, http.client.HTTPException) as error:
                raise _Interrupted(str(error) or type(error).__name__) from error
            if not chunk:
                return
            file.write(chunk)
            num_received += len(chunk)
            if report_progress is not None:
                report_progress(num_received, size)


def _md5_in(headers: Message) -> tuple[str, ...]:
    # Google Cloud Storage announces an object's MD5: "crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==".
    return tuple(
        value.strip().removeprefix("md5=")
        for header in headers.get_all("x-goog-hash", [])
        for value in header.split(",")
        if value.strip().startswith("md5=")
    )


def _check_md5(url: str, part: Path, announced: tuple[str, ...]) -> None:
    if not announced:
        return
    with part.open("rb") as file:
        digest = base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode()
    if digest not in announced:
        discard(part)
        raise CheckpointError(
            f"{without_secrets(url)}: the download has the MD5 {digest}, but the server announced {announced[0]}: it was "
            "damaged on the way and deleted. Try again."
        )


def _failure(url: str, part: Path, reason: str) -> str:
    kept = f" {_size(part):,} bytes are kept; the next try continues from there." if _size(part) else ""
    return (
        f"{without_secrets(url)}: could not be downloaded: {without_secrets(reason)}.{kept} Check the connection (behind a "
        "proxy, set HTTPS_PROXY), set ALLMLP_MIXER_MODELS_URL to a mirror, or download the file elsewhere "
        f"and put it at {part.with_suffix('')}, where it keeps its class names."
    )


def _version_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_version(part: Path) -> _Version | None:
    """Return the version of the content in `part`; if it is unknown, delete `part` and return None."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        values = json.loads(_version_path(part).read_text(encoding="utf-8"))
        md5 = tuple(map(str, values.get("md5", ())))
        version = _Version(validator=str(values["validator"]), size=int(values["size"]), md5=md5)
        if version.validator:
            return version
    discard(part)
    return None


def _write_version(part: Path, version: _Version) -> None:
    _version_path(part).write_text(json.dumps(asdict(version)), encoding="utf-8")


def discard(part: Path) -> None:
    """Delete `part` and the file with its version."""
    _version_path(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
