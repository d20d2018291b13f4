"""Download of one file over HTTP. A broken connection keeps the bytes received, and only the rest is requested again.

Files in the folder of a download are as untrusted as what the server sends: if it is not certain that they belong to the same
content, they are deleted, and the download starts again.
"""

import base64
import contextlib
import hashlib
import http
import json
import os
import re
import stat
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from email.message import Message
from pathlib import Path
from typing import IO

from allmlp.errors import CheckpointError
from allmlp.io.display import escape
from allmlp.io.http_client import (
    Answer,
    HeadersFor,
    NoAnswer,
    Patience,
    UnsafeAnswer,
    ask,
    no_headers,
    size_in,
    without_secrets,
)

__all__ = ["MAX_FILE_BYTES", "MissingFileError", "ReportProgress", "check_address", "discard", "receive"]

ReportProgress = Callable[[int, int], None]
"""Callback that takes the number of bytes received and the size of the file."""

MAX_FILE_BYTES = 8 << 30
"""The largest file that is downloaded if nothing is known about its size."""

MAX_TRIES = 3  # consecutive tries after each of which the file had grown by less than PROGRESS_BYTES
PROGRESS_BYTES = 1 << 20
MAX_NOTE_BYTES = 1 << 16
# Temporary problems of the server; any other 4xx is permanent.
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
_MISSING_STATUS = (403, 404, 410)  # storage that does not list its files answers 403 for those it lacks

_VALIDATOR = re.compile(r"[\x20-\x7e]{1,1000}")  # what can be sent back in a header
_MD5 = re.compile(r"[A-Za-z0-9+/]{22}==")


class MissingFileError(CheckpointError):
    """There is no such file on the server, or it may not be read."""


@dataclass(frozen=True)
class _Version:
    """A version of the content at a URL: its validator (RFC 9110, 8.8) and its size.

    `md5` holds the digests that the server announces, in base64, if any; a download has to match one of them.
    """

    validator: str
    size: int
    md5: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What `receive` was asked for."""

    url: str
    part: Path
    max_bytes: int
    headers_for: HeadersFor
    patience: Patience
    report_progress: ReportProgress | None
    advice: str


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
    url: str,
    part: Path,
    *,
    max_bytes: int = MAX_FILE_BYTES,
    headers_for: HeadersFor = no_headers,
    patience: Patience = Patience(),  # noqa: B008 (frozen)
    report_progress: ReportProgress | None = None,
    advice: str = "Try again.",
) -> None:
    """Download `url` to `part`, continuing after the bytes already in it if they belong to the same content.

    On return `part` has the size that the server announced and, if the server announces an MD5 (x-goog-hash), that digest.
    The caller verifies other digests, renames the file, and ensures that no other process downloads it at the same time.
    `headers_for` returns the headers for a URL, as in `ask`. `report_progress` is called after each chunk;
    `advice` ends the message of a failure.

    Raises:
        CheckpointError: the network or the server failed, or the file is larger than `max_bytes`; the bytes received stay in
            `part` for the next call. MissingFileError, which is one: there is no such file.
        OSError: `part` cannot be written.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    request = _Request(
        url=url,
        part=part,
        max_bytes=max_bytes,
        headers_for=headers_for,
        patience=patience,
        report_progress=report_progress,
        advice=advice,
    )
    tries, largest = 0, _size(part)
    while True:
        try:
            _receive_rest(request)
            return
        except NoAnswer as error:
            # A file that shrinks, because its content changes again and again, makes no progress.
            size = _size(part)
            tries = 1 if size - largest >= PROGRESS_BYTES else tries + 1
            largest = max(largest, size)
            if tries >= MAX_TRIES:
                raise CheckpointError(_failure(request, str(error))) from error
            time.sleep(patience.retry_s * 2 ** (tries - 1))
        except UnsafeAnswer as error:
            raise CheckpointError(_failure(request, str(error))) from error


def _receive_rest(request: _Request) -> None:
    part = request.part
    version = _read_version(part, request.max_bytes)
    num_kept = _size(part) if version is not None else 0
    if version is not None and num_kept == version.size:  # the process ended before the file was renamed
        _check_md5(request.url, part, version.md5)
        return
    if not num_kept:
        discard(part)
    resumed = version if num_kept else None
    with ask(request.url, patience=request.patience, headers_for=_with_range(request, resumed)) as answer:
        _check_status(request, answer)
        served, start = _version_of(request, answer)
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT and (served != resumed or start != num_kept):
            # A server that ignores If-Range sends the end of different content.
            discard(part)
            raise NoAnswer("the file has changed on the server")
        if answer.status == http.HTTPStatus.OK:  # new, changed, or ranges are unsupported: all of it follows
            discard(part)
            _write_new(_version_path(part), json.dumps(asdict(served)).encode())
            _write_new(part, b"")
        _copy(request, answer, served)
        _check_md5(request.url, part, served.md5)


def _with_range(request: _Request, version: _Version | None) -> HeadersFor:
    if version is None:
        return request.headers_for
    ranged = {"Range": f"bytes={_size(request.part)}-", "If-Range": version.validator}
    return lambda url: {**request.headers_for(url), **ranged}


def _check_status(request: _Request, answer: Answer) -> None:
    if answer.status in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT):
        return
    if answer.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        discard(request.part)
        raise NoAnswer("the server refused to resume the download")
    message = f"the server answered {answer.status} {answer.reason}".rstrip()
    if answer.status in TRANSIENT_STATUS:
        raise NoAnswer(message)
    if answer.status in _MISSING_STATUS:
        raise MissingFileError(_failure(request, message))
    raise UnsafeAnswer(message)


def _version_of(request: _Request, answer: Answer) -> tuple[_Version, int]:
    """Return the version of the content in an answer, and the offset at which the answer starts."""
    headers, start = answer.headers, 0
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:  # "bytes 100-199/200"
        byte_range, _, total = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        size, first = size_in(total), size_in(byte_range.partition("-")[0])
        start = -1 if first is None else first
    else:
        lengths = set(headers.get_all("Content-Length", []))
        size = size_in(lengths.pop()) if len(lengths) == 1 else None
    if size is None:
        raise CheckpointError(
            f"{without_secrets(request.url)}: the server does not announce the size of the file, so a truncated download "
            "could not be detected. Download it with a browser and give its path."
        )
    if size > request.max_bytes:
        raise UnsafeAnswer(f"the server announces {size:,} bytes, more than the limit of {request.max_bytes:,}")
    etag = headers.get("ETag", "")
    # A weak ETag does not guarantee identical bytes.
    validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")
    return _Version(validator if _VALIDATOR.fullmatch(validator) else "", size, _md5_in(headers)), start


def _copy(request: _Request, answer: Answer, served: _Version) -> None:
    num_received = _size(request.part)
    with _open_to_append(request.part) as file:
        try:
            for chunk in answer.blocks(served.size - num_received):
                file.write(chunk)
                num_received += len(chunk)
                if request.report_progress is not None:
                    request.report_progress(num_received, served.size)
        except UnsafeAnswer:  # longer than announced
            discard(request.part)
            raise
    if num_received != served.size:
        raise NoAnswer(f"the connection was cut after {num_received:,} of {served.size:,} bytes")


def _md5_in(headers: Message) -> tuple[str, ...]:
    # Google Cloud Storage announces an object's MD5: "crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==".
    announced = (
        value.strip().removeprefix("md5=")
        for header in headers.get_all("x-goog-hash", [])
        for value in header.split(",")
        if value.strip().startswith("md5=")
    )
    return tuple(digest for digest in announced if _MD5.fullmatch(digest))[:10]


def _check_md5(url: str, part: Path, announced: tuple[str, ...]) -> None:
    if not announced:
        return
    with part.open("rb") as file:
        digest = base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode()
    if digest not in announced:
        discard(part)
        raise CheckpointError(
            f"{without_secrets(url)}: the download has the MD5 {digest}, but the server announced {announced[0]}: it was "
            "damaged in transit and has been deleted. Try again."
        )


def _failure(request: _Request, reason: str) -> str:
    size = _size(request.part)
    kept = f" {size:,} bytes are kept; the next try continues from there." if size else ""
    return f"{escape(without_secrets(request.url))}: could not be downloaded: {reason}.{kept} {request.advice}"


def _version_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_version(part: Path, max_bytes: int) -> _Version | None:
    """Return the version of the content in `part`; if it is not certain, delete `part` and return None."""
    note = _version_path(part)
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        if _is_own_file(part) and _is_own_file(note) and note.stat().st_size <= MAX_NOTE_BYTES:
            values = json.loads(note.read_text(encoding="utf-8"))
            version = _Version(values["validator"], values["size"], tuple(values.get("md5", ())))
            are_texts = isinstance(version.validator, str) and all(isinstance(digest, str) for digest in version.md5)
            is_sized = type(version.size) is int and part.stat().st_size <= version.size <= max_bytes
            if are_texts and is_sized and _VALIDATOR.fullmatch(version.validator):
                return version
    discard(part)
    return None


def _is_own_file(path: Path) -> bool:
    """Whether this is a regular file under one name only: writing through a link would change another file."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _write_new(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.write(content)


def _open_to_append(part: Path) -> IO[bytes]:
    # Windows has no O_NOFOLLOW; creating links there needs special rights.
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)), "ab")


def discard(part: Path) -> None:
    """Delete `part` and the file with its version."""
    _version_path(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Return the size of a download in progress; 0 for anything else."""
    try:
        return path.stat().st_size if _is_own_file(path) else 0
    except OSError:
        return 0
