"""A file server in a thread: ranges, ETags, and faults that can be switched on. Speaks HTTP on 127.0.0.1."""

import base64
import hashlib
import socket
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit


@dataclass
class Faults:
    """What goes wrong; all of it can be changed while the server runs.

    Attributes:
        cut_after: so many bytes of a body are sent, then the connection is closed.
        num_cuts: how many answers are cut; the others are whole.
        status: every answer is this error.
        wrong_bytes: every body has its length, but its last byte differs.
        stalls: half of a body is sent, then nothing, until the server stops.
        ignores_range, ignores_if_range: headers that the server overlooks.
        where: only bodies at paths that contain this are affected.
    """

    cut_after: int | None = None
    num_cuts: int = 0
    status: int | None = None
    wrong_bytes: bool = False
    stalls: bool = False
    ignores_range: bool = False
    ignores_if_range: bool = False
    where: str = ""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case


@dataclass
class LocalServer:
    """Serves `handler` until the `with` block ends. `requests` holds what was asked, in order."""

    faults: Faults = field(default_factory=Faults)
    requests: list[Request] = field(default_factory=list)

    def handler(self) -> "type[LocalHandler]":
        raise NotImplementedError

    def __enter__(self) -> Self:
        handler = type("Handler", (self.handler(),), {"site": self})
        self._server = _QuietServer(("127.0.0.1", 0), handler)
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def asked(self, method: str, part: str) -> list[Request]:
        """Return the requests of a method whose path contains `part`."""
        return [request for request in self.requests if request.method == method and part in request.path]


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what is tested."""


class LocalHandler(BaseHTTPRequestHandler):
    """Answers with bytes, as `site.faults` allow."""

    protocol_version = "HTTP/1.1"
    site: Any

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Say nothing."""

    def parse_request(self) -> bool:
        known = super().parse_request()
        if known:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.site.requests.append(Request(self.command, self.path, headers))
        return known

    @property
    def route(self) -> str:
        return unquote(urlsplit(self.path).path)

    def read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send an answer as it is, without faults."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def fails(self) -> bool:
        """Answer with the error that is switched on, if any."""
        if self.site.faults.status is not None:
            self.answer(self.site.faults.status, b"<html>trouble</html>")
        return self.site.faults.status is not None

    def send_content(self, content: bytes, headers: dict[str, str]) -> None:
        """Send the range of `content` that was asked for, or all of it; `headers` hold the validators."""
        start = self._start(headers)
        size = len(content)
        if start >= size > 0:
            self.answer(416, headers={"Content-Range": f"bytes */{size}"})
            return
        if start:
            headers = headers | {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        faults = self.site.faults if self.site.faults.where in self.route else Faults()
        body = content[start:]
        if faults.wrong_bytes:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(206 if start else 200)
        for name, value in (headers | {"Content-Length": str(len(body)), "Accept-Ranges": "bytes"}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if faults.stalls:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.site.stopped.wait()
            self._hang_up()
        elif faults.num_cuts > 0 and faults.cut_after is not None and faults.cut_after < len(body):
            faults.num_cuts -= 1
            self.wfile.write(body[: faults.cut_after])
            self._hang_up()
        else:
            self.wfile.write(body)

    def _start(self, headers: dict[str, str]) -> int:
        faults = self.site.faults
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range")
        if not asked or faults.ignores_range:
            return 0
        if (
            condition
            and not faults.ignores_if_range
            and condition not in (headers.get("ETag"), headers.get("Last-Modified"))
        ):
            return 0
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


@dataclass
class FileServer(LocalServer):
    """Serves `files`, bytes by path ("imagenet1k/Mixer-B_16.npz").

    `etag`: "strong", "weak", or "" for none; `dated`: with Last-Modified; `md5`: as Google's storage announces it;
    `sent_on`: where else some paths are said to be.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = "strong"
    dated: bool = False
    md5: str | None = None
    sent_on: dict[str, str] = field(default_factory=dict)

    def handler(self) -> type[LocalHandler]:
        return _FileHandler


class _FileHandler(LocalHandler):
    def do_GET(self) -> None:
        if self.fails():
            return
        path = self.route.removeprefix("/")
        if path in self.site.sent_on:
            self.answer(302, headers={"Location": self.site.sent_on[path]})
            return
        content = self.site.files.get(path)
        if content is None:
            self.answer(404, b"<html>no such file</html>")
            return
        headers = {}
        if self.site.etag:
            weak = "W/" if self.site.etag == "weak" else ""
            headers["ETag"] = f'{weak}"{hashlib.md5(content).hexdigest()}"'
        if self.site.dated:
            headers["Last-Modified"] = formatdate(len(content), usegmt=True)
        if self.site.md5 is not None:
            headers["x-goog-hash"] = f"crc32c=n03x6A==,md5={self.site.md5}"
        self.send_content(content, headers)


def md5_of(content: bytes) -> str:
    """Return what Google's storage calls the MD5 of `content`."""
    return base64.b64encode(hashlib.md5(content).digest()).decode()
