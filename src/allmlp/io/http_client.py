"""HTTP requests to untrusted servers: bounded in time, only http and https, secrets only for the hosts they belong to."""

import contextlib
import functools
import http.client
import importlib
import io
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

from allmlp.io.display import escape, shorten

__all__ = [
    "MAX_REDIRECTS",
    "Answer",
    "HeadersFor",
    "NoAnswer",
    "Patience",
    "UnsafeAnswer",
    "ask",
    "no_headers",
    "origin",
    "redirected",
    "size_in",
    "without_secrets",
]

HeadersFor = Callable[[str], Mapping[str, str]]
"""Function from a URL to the headers of a request for it, so that a redirect to another host gets no secret."""

# `allmlp.__version__` is looked up when it is used: importing it here would be a circle.
CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 1 << 19  # at least this much of a body in `Patience.block_s`: 8.7 kB per second
MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for a server, in seconds.

    Attributes:
        pause_s: for connecting, and for any pause in the data.
        block_s: for the complete headers of an answer, however many interim answers precede it, and for each 512 KiB of its
            body.
        retry_s: before the second try; doubled for each further one.
    """

    pause_s: float = 30.0
    block_s: float = 60.0
    retry_s: float = 0.5


class NoAnswer(Exception):  # noqa: N818 (not an error yet: another try may succeed)
    """The connection failed, or what came is too slow or not HTTP."""


class UnsafeAnswer(Exception):  # noqa: N818 (the caller words the error)
    """The answer asks for what is refused, such as a redirect from https to http. Another try would be the same."""


class Answer:
    """The status and headers of an answer, and its body while it arrives."""

    def __init__(self, url: str, response: http.client.HTTPResponse, clock: "_Clock") -> None:
        self.url = url
        self.status: int = response.status
        self.headers: Message = response.headers
        self._response = response
        self._clock = clock

    @property
    def reason(self) -> str:
        """The server's words for the status, on one short line."""
        return shorten(escape(self._response.reason or ""), 100)

    @property
    def redirect(self) -> str:
        """The URL to which the server redirects; "" if it does not.

        Raises:
            UnsafeAnswer: the URL is invalid or refused.
        """
        if self.status not in _REDIRECTS:
            return ""
        return redirected(self.url, self.headers.get("Location", ""))

    def blocks(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the body as it arrives, so that a broken connection loses nothing.

        Raises:
            NoAnswer: the connection failed, or the body is too slow.
            UnsafeAnswer: the body is longer than `max_bytes`.
        """
        num_received, block_bytes = 0, 0
        self._clock.restart()
        while True:
            try:
                chunk = self._response.read1(CHUNK_BYTES)
            except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a chunk's length
                raise NoAnswer(_reason(error)) from error
            if not chunk:
                return
            num_received += len(chunk)
            if num_received > max_bytes:
                raise UnsafeAnswer(f"the server sends more than {max_bytes:,} bytes")
            block_bytes += len(chunk)
            if block_bytes >= BLOCK_BYTES:
                block_bytes = 0
                self._clock.restart()
            yield chunk


def no_headers(_url: str) -> Mapping[str, str]:
    """Return no headers, for a public file."""
    return {}


@contextlib.contextmanager
def ask(
    url: str,
    *,
    patience: Patience,
    method: str = "GET",
    headers_for: HeadersFor = no_headers,
    follow: bool = True,
) -> Iterator[Answer]:
    """Yield the answer to a request, whatever its status; `follow`: after redirects.

    Raises:
        NoAnswer: the connection failed, or no complete headers came in time.
        UnsafeAnswer: a redirect that is refused, too many of them, or a compressed body.
    """
    for _ in range(MAX_REDIRECTS):
        # If the server compressed the response, sizes and ranges would not be the file's.
        headers = {
            "User-Agent": f"allmlp/{importlib.import_module('allmlp').__version__}",
            **headers_for(url),
            "Accept-Encoding": "identity",
        }
        clock = _Clock(patience)
        with contextlib.closing(_open(urllib.request.Request(url, headers=headers, method=method), clock)) as response:
            answer = Answer(url, response, clock)
            target = answer.redirect if follow else ""
            if not target:
                encoding = ", ".join(answer.headers.get_all("Content-Encoding", [])).strip().lower()
                if encoding not in ("", "identity"):
                    raise UnsafeAnswer(f"the server sends compressed data ({shorten(escape(encoding), 40)})")
                yield answer
                return
        url = target
    raise UnsafeAnswer(f"the server redirects more than {MAX_REDIRECTS} times")


def origin(url: str) -> tuple[str, str, int | None]:
    """Return the scheme, host and port of a URL, which together decide where a secret may go."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def redirected(url: str, location: str) -> str:
    """Return the URL to which `location` leads from `url`.

    Raises:
        UnsafeAnswer: not a URL, neither http nor https, or http although `url` is https.
    """
    shown = shorten(escape(without_secrets(location)), 200)
    try:
        target = urllib.parse.urljoin(url, location)
        scheme, host, _ = origin(target)
        host.encode("idna")
    except ValueError as error:  # or UnicodeError, which is one
        raise UnsafeAnswer(f"the server redirects to an invalid URL ({shown})") from error
    # urllib takes what precedes an "@" for a part of the host, and decodes "%" there: no secret may go by such a host.
    is_plain = target.isascii() and target.isprintable() and " " not in target
    is_plain = is_plain and not set("@%\\") & set(urllib.parse.urlsplit(target).netloc)
    if not location or not host or not is_plain:
        raise UnsafeAnswer(f"the server redirects to an invalid URL ({shown})")
    if scheme not in ("http", "https") or (scheme == "http" and urllib.parse.urlsplit(url).scheme == "https"):
        raise UnsafeAnswer(f"the server redirects from {urllib.parse.urlsplit(url).scheme} to {scheme} ({shown})")
    return target


def size_in(text: str | None) -> int | None:
    """Return the size in a header or a note; None if it is not a plain number of bytes."""
    return int(text) if text is not None and re.fullmatch("[0-9]{1,15}", text.strip(" \t")) else None


def without_secrets(text: str) -> str:
    """Return `text` without the users, passwords and queries of its addresses, which may hold keys."""
    text = re.sub(r"://[^/\s@]*@", "://", text)
    return re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1", text)


class _Clock:
    """The time at which reading ends, unless it is restarted."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.restart()

    def restart(self) -> None:
        self._end = time.monotonic() + self.patience.block_s

    def remaining(self) -> float:
        """Return how long the next read may wait."""
        rest = self._end - time.monotonic()
        if rest <= 0:
            raise TimeoutError(f"timed out: too little arrived within {self.patience.block_s:g} s")
        return min(rest, self.patience.pause_s)


class _TimedReader(io.RawIOBase):
    """Reads from a socket until a clock has run out. A timeout of the socket alone would restart with every byte."""

    def __init__(self, connection: socket.socket, raw: io.RawIOBase, clock: _Clock) -> None:
        self._connection, self._raw, self._clock = connection, raw, clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._connection.settimeout(self._clock.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, clock: _Clock, connection: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(connection, *args, **options)
        self.fp: Any = io.BufferedReader(_TimedReader(connection, self.fp.detach(), clock))


def _open(request: urllib.request.Request, clock: _Clock) -> http.client.HTTPResponse:
    """Send a request, through the proxy of the environment if there is one, and return the answer of any status."""

    def connect(kind: type[http.client.HTTPConnection], host: str, **options: Any) -> http.client.HTTPConnection:
        connection = kind(host, **options)
        connection.response_class = functools.partial(_TimedResponse, clock)  # type: ignore[assignment]
        return connection

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(functools.partial(connect, http.client.HTTPConnection), req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(functools.partial(connect, http.client.HTTPSConnection), req)

    opener = urllib.request.OpenerDirector()  # not build_opener: it would also read ftp:, file: and data:
    for handler in (urllib.request.ProxyHandler(), urllib.request.UnknownHandler(), Http(), Https()):
        opener.add_handler(handler)
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=clock.patience.pause_s)
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        cause = getattr(error, "reason", None)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UnsafeAnswer(f"the server's certificate is not valid ({cause.verify_message})") from error
        raise NoAnswer(_reason(error)) from error
    except ValueError as error:  # http.client refuses the URL
        raise UnsafeAnswer(f"not a valid URL ({error})") from error
    return response


def _reason(error: Exception) -> str:
    reason = str(getattr(error, "reason", error)) or type(error).__name__
    return shorten(escape(without_secrets(reason)), 200)
