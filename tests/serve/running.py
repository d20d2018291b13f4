"""A server in a process of its own, and raw requests to it."""

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 60.0

_SERVE = """
import json, sys
from allmlp.serve import ServeOptions, serve
values = json.loads(sys.argv[1])
options = ServeOptions(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.pop("options").items()})
serve(values.pop("source"), port=0, options=options, report=lambda line: print(line, file=sys.stderr, flush=True), **values)
"""


@dataclass(frozen=True)
class Answer:
    """A status, the headers and the body of an answer; status 0 if the server closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


class Running:
    """A server that runs: its port, its process, the lines that it writes, and those on standard error before it was ready."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: queue.Queue[str] = queue.Queue()
        self.log: list[str] = []
        for stream, take in ((process.stderr, self.lines.put), (process.stdout, self.log.append)):
            threading.Thread(target=_read, args=(stream, take), daemon=True).start()
        self.first_lines: list[str] = []
        line = self.next_line("Serving at", skipped=self.first_lines)
        self.port = int(line.split(":")[2].split()[0])
        self.url = f"http://127.0.0.1:{self.port}"

    def next_line(self, start: str, skipped: list[str] | None = None) -> str:
        """Return the next line on standard error that starts with some words; add those before it to `skipped`."""
        seen = [] if skipped is None else skipped
        while not (line := self.lines.get(timeout=TIMEOUT_S)).startswith(start):
            seen.append(line)
            assert line, seen  # the server ended
        return line

    def written(self) -> list[str]:
        """Return the lines on standard error so far."""
        return [self.lines.get() for _ in range(self.lines.qsize())]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Sequence[tuple[str, str]] = (),
        *,
        version: str = "1.1",
    ) -> Answer:
        return self.exchange(request(method, path, body, headers, version=version), is_head=method == "HEAD")

    def predict(self, photo: bytes, path: str = "/predict", *headers: tuple[str, str]) -> Answer:
        return self.ask("POST", path, photo, [("Content-Type", "image/jpeg"), *headers])

    def exchange(self, sent: bytes, *, half_close: bool = False, is_head: bool = False) -> Answer:
        """Send bytes over a new connection and return the first answer."""
        with self.connect() as connection:
            with contextlib.suppress(
                BrokenPipeError, ConnectionResetError
            ):  # an answer may come before the end of a body
                connection.sendall(sent)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            return answer_on(connection, is_head=is_head)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)


def answer_on(connection: socket.socket, *, is_head: bool = False) -> Answer:
    response = http.client.HTTPResponse(connection, method="HEAD" if is_head else "GET")
    try:
        response.begin()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    except (http.client.HTTPException, ConnectionResetError):
        return Answer(0, {}, b"")


def request(
    method: str, path: str, body: bytes = b"", headers: Sequence[tuple[str, str]] = (), *, version: str = "1.1"
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: test", *(f"{name}: {value}" for name, value in headers)]
    names = {name.lower() for name, _ in headers}
    if body and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def form(*parts: tuple[str, bytes], boundary: str = "edge") -> bytes:
    """Return a form of parts: what follows `form-data; ` and the content."""
    pieces = [
        f"--{boundary}\r\nContent-Disposition: form-data; {words}\r\n\r\n".encode() + content + b"\r\n"
        for words, content in parts
    ]
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()


def _read(stream: Any, take: Any) -> None:
    for line in stream:
        take(line)
    take("")


@contextlib.contextmanager
def running(
    source: Path, *, env: dict[str, str] | None = None, options: dict[str, Any] | None = None, **values: Any
) -> Iterator[Running]:
    """Run a server in a process of its own until the end of the block."""
    arguments = {"source": str(source), "options": options or {}, **values}
    with started([sys.executable, "-c", _SERVE, json.dumps(arguments)], env=env) as server:
        yield server


@contextlib.contextmanager
def started(command: Sequence[str], *, env: dict[str, str] | None = None) -> Iterator[Running]:
    """Run a command that serves until the end of the block."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    try:
        yield Running(process)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
