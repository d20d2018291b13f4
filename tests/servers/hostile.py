"""A server in a thread that sends any bytes, also those that are not HTTP. It listens on 127.0.0.1."""

import contextlib
import hashlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

Sent = Iterable[bytes]
"""Pieces of an answer, which may be endless."""


@dataclass(frozen=True)
class RawRequest:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case


@dataclass
class HostileServer:
    """Sends what `reply` returns for each request until the `with` block ends; `requests` holds what was asked."""

    reply: Callable[[RawRequest], Sent]
    requests: list[RawRequest] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.stopped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):
            lines = _head(connection).decode("latin-1").split("\r\n")
            method, path, _ = lines[0].split(" ")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            request = RawRequest(method, path, {name.lower(): value for name, value in headers.items()})
            self.requests.append(request)
            for piece in self.reply(request):
                if self.stopped.is_set():
                    return
                connection.sendall(piece)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)

    def drip(self, pieces: Iterable[bytes], pause_s: float = 0.02) -> Iterator[bytes]:
        """Yield pieces with a pause before each, until the server stops."""
        for piece in pieces:
            if self.stopped.wait(pause_s):
                return
            yield piece


def _head(connection: socket.socket) -> bytes:
    content = b""
    while b"\r\n\r\n" not in content:
        piece = connection.recv(65536)
        if not piece:
            raise ValueError("no request")
        content += piece
    return content


def answer(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    """Return an answer; `Content_Length` and so on are set if given, else Content-Length is true."""
    fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value != "absent")
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body


def endless(piece: bytes) -> Iterator[bytes]:
    return itertools.repeat(piece)


def snapshot(folder: Path) -> dict[str, str]:
    """Return every path below a folder with the digest of its content, or with the target of a link."""
    return {str(path.relative_to(folder)): _state(path) for path in sorted(folder.rglob("*"))}


def _state(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
