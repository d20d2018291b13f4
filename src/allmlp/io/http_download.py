"""One file over HTTP, received whole. What a broken connection leaves is kept, and only the rest is asked for again."""

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
"""Takes the bytes that have arrived of a download, and its size."""

TIMEOUT_S = 30.0  # for a connection, and for any silence on it
MAX_TRIES = 3  # in a row that brought less than PROGRESS_BYTES
PROGRESS_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
# The server's own trouble, which may pass; any other 4xx will not.
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class _Version:
    """Which content of the URL the bytes on disk belong to: its validator (RFC 9110, 8.8) and its size.

    `md5` holds what the server announces of it, in base64; any of these is right, none when it announces none.
    """

    validator: str
    size: int
    md5: tuple[str, ...] = field(default=(), compare=False)


class _Interrupted(Exception):  # noqa: N818 (no error yet: it is tried again)
    """The connection failed, or the server asked to come again."""


def check_address(url: str, *, what: str) -> None:
    """Refuse what is not a plain address of a web server.

    Raises:
        CheckpointError: another scheme than http and https, no host, user and password, or a query; it starts with
            `what` and does not show the address where it may hold a secret.
    """
    wanted = "expected an address with http:// or https://, such as https://HOST/PATH, without user, password or query."
    try:
        parts = urllib.parse.urlsplit(url)
        plain = "@" not in url and not parts.query and not parts.fragment and url.isprintable() and " " not in url
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
        (parts.hostname or "").encode("idna")
        _ = parts.port
    except ValueError as error:  # UnicodeError among them
        # What could not be parsed, such as a port that is a word, may be a password.
        raise CheckpointError(f"{what} cannot be understood as an address; {wanted}") from error
    if not plain:
        raise CheckpointError(f"{what} holds more than an address; {wanted}")
    if not known:
        raise CheckpointError(f"{what} is {url}: cannot be downloaded from; {wanted}")


def receive(
    url: str, part: Path, *, timeout_s: float = TIMEOUT_S, report_progress: ReportProgress | None = None
) -> None:
    """Download `url` to `part`, going on from the bytes that are there when they belong to the same content.

    On return `part` has the size that the server announced and, where it announces an MD5 (x-goog-hash), that content.
    The caller checks digests of its own, gives the file its name, and sees to it that no other process does the same.
    `report_progress` takes the bytes that have arrived and the size, after each piece.

    Raises:
        CheckpointError: the network or the server failed; what has arrived stays in `part` for the next call.
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
    """Return `text` with the addresses in it less user, password and query, which may hold keys."""
    text = re.sub(r"://[^/\s@]*@", "://", text)
    return re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1", text)


def _receive_rest(url: str, part: Path, timeout_s: float, report_progress: ReportProgress | None) -> None:
    version = _read_version(part)
    have = _size(part) if version is not None and _size(part) <= version.size else 0
    if version is not None and have == version.size:  # the process ended before the file took its name
        _check_md5(url, part, version.md5)
        return
    if not have:
        discard(part)  # what is there belongs to no content, or is more than there was
    with _open(url, have, version, part, timeout_s) as response:
        found, start = _version_of(url, response.status, response.headers)
        if response.status == http.HTTPStatus.PARTIAL_CONTENT and (found != version or start != have):
            # A server that overlooks If-Range offers the end of another content.
            discard(part)
            raise _Interrupted("the file has changed on the server")
        if have and response.status == http.HTTPStatus.OK:  # changed as well, or no ranges: all of it comes
            discard(part)
        _write_version(part, found)
        _copy(response, part, found.size, report_progress)
        if _size(part) != found.size:
            size = _size(part)
            if size > found.size:
                discard(part)
            raise _Interrupted(f"the connection was cut after {size:,} of {found.size:,} bytes")
        _check_md5(url, part, found.md5)


def _open(url: str, have: int, version: _Version | None, part: Path, timeout_s: float) -> Any:
    # Compressed on the way, neither sizes nor ranges would mean the file's.
    headers = {"User-Agent": f"allmlp/{__version__}", "Accept-Encoding": "identity"}
    if have and version is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": version.validator}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            discard(part)
            raise _Interrupted("the server refused to go on where it stopped") from error
        if error.code in TRANSIENT_STATUS:
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
        raise CheckpointError(_failure(url, part, f"the server answered {error.code} {error.reason}")) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise _Interrupted(str(getattr(error, "reason", error)) or type(error).__name__) from error
    except ValueError as error:  # redirected to an invalid URL
        raise CheckpointError(_failure(url, part, f"the server redirects to an invalid URL ({error})")) from error


def _version_of(url: str, status: int, headers: Message) -> tuple[_Version, int]:
    """Return which content the answer is of, and where in it the answer starts."""
    etag = headers.get("ETag", "")
    # A weak ETag promises no equal bytes.
    validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")
    try:
        if status == http.HTTPStatus.PARTIAL_CONTENT:  # "bytes 100-199/200"
            places, _, size = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            return _Version(validator, int(size), _md5_in(headers)), int(places.partition("-")[0])
        return _Version(validator, int(headers.get("Content-Length", "")), _md5_in(headers)), 0
    except ValueError as error:
        raise CheckpointError(
            f"{without_secrets(url)}: the server does not say how many bytes the file has, so that a cut could not be "
            "noticed. Download it with a browser and give its path."
        ) from error


def _copy(response: Any, part: Path, size: int, report_progress: ReportProgress | None) -> None:
    done = _size(part)
    with part.open("ab") as file:
        while True:
            try:
                chunk = response.read1(CHUNK_BYTES)  # what is there, so that a cut loses nothing
            except (OSError, http.client.HTTPException) as error:
                raise _Interrupted(str(error) or type(error).__name__) from error
            if not chunk:
                return
            file.write(chunk)
            done += len(chunk)
            if report_progress is not None:
                report_progress(done, size)


def _md5_in(headers: Message) -> tuple[str, ...]:
    # Google's storage says the MD5 of what it holds: "crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==".
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
        found = base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode()
    if found not in announced:
        discard(part)
        raise CheckpointError(
            f"{without_secrets(url)}: what arrived has the MD5 {found}, the server announced {announced[0]}: it was "
            "damaged on the way. Nothing of it was kept; try again."
        )


def _failure(url: str, part: Path, reason: str) -> str:
    kept = f" {_size(part):,} bytes are kept, and the next try goes on from there." if _size(part) else ""
    return (
        f"{without_secrets(url)}: could not be downloaded: {without_secrets(reason)}.{kept} Check the connection (behind a "
        "proxy, set HTTPS_PROXY), name a mirror with ALLMLP_MIXER_MODELS_URL, or download the file elsewhere "
        f"and put it at {part.with_suffix('')}, where it keeps its class names."
    )


def _version_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_version(part: Path) -> _Version | None:
    """Return what the bytes in `part` belong to; None, after deleting them, where that is unknown."""
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
    """Remove `part` and what was noted of it."""
    _version_path(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
