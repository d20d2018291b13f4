"""`serve`: the app of a model by uvicorn, in this process or in several."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn

from allmlp.data import set_max_megapixels
from allmlp.errors import ConfigError
from allmlp.exports import export_kind
from allmlp.io.display import Report, discard, quote
from allmlp.serve.application import app_of
from allmlp.serve.http.protocol import TimedProtocol, protocol_class
from allmlp.serve.models import ServedModel
from allmlp.serve.options import ServeOptions, check_extra
from allmlp.serve.workers import supervise

__all__ = ["serve"]

_BACKLOG = 2048
_MAX_HEADER_BYTES = 32_768
_MAX_WORKERS = 256
_SPARE_S = 5.0  # beyond the time limits of requests, before a shutdown gives up
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
    source: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    max_megapixels: int | None = None,
    options: ServeOptions | None = None,
    report: Report = discard,
) -> None:
    """Serve a model until SIGTERM or SIGINT; what was accepted by then is answered first.

    Args:
        source: what `open_model` takes, except a `Checkpoint`.
        host: the address to listen at.
        port: the port; 0 for a free one.
        workers: the number of processes, each with the model. One that dies is replaced, unless the model has changed.
        backend: as for `open_model`, like `device` and `precision`.
        device: the compute device.
        precision: of the matrix products.
        max_megapixels: the largest size of a photo; None leaves it as it is.
        options: the limits of requests.
        report: takes a line once photos are answered, after a remark on the choice of the backend if there is one; and a line
            for each worker that is replaced, or not used.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: an invalid option, or an address that cannot be listened at.
        MissingExtraError: the extra `serve` or a library of the backend is not installed.
    """
    check_extra()
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= _MAX_WORKERS:
        raise ConfigError(f"workers is {quote(workers)}; expected an integer from 1 to {_MAX_WORKERS}.")
    limits = ServeOptions() if options is None else options
    open_it = functools.partial(ServedModel, source, backend=backend, device=device, precision=precision)
    job = _Job(open_it, limits, max_megapixels, is_alone=workers == 1)
    with _listen(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        line = f"Serving at http://{shown}:{listener.getsockname()[1]} (a page, and POST /predict). Stop with Ctrl-C."

        def tell(remark: str) -> None:
            for each in filter(None, (remark, line)):
                report(each)

        if workers == 1:
            job(listener, tell, discard)
        else:
            supervise(
                job,
                listener,
                number=workers,
                engine=_engine(source, backend),
                grace_s=_grace(limits) + _SPARE_S,
                when_ready=tell,
                report=report,
            )


def _grace(limits: ServeOptions) -> float:
    """Return the seconds after which a shutdown gives up: what was accepted may still be read, and then be answered."""
    return limits.timeout_s + limits.body_timeout_s + _SPARE_S


def _engine(source: str, backend: str) -> str:
    """Return the module that a worker loads for this source, to be loaded once, before the workers are forked."""
    kind = export_kind(source) if backend == "auto" else backend
    engines = {None: "torch", "eager": "torch", "compiled": "torch", "onnx": "onnxruntime", "litert": "ai_edge_litert"}
    return engines.get(kind) or str(kind)


@dataclass(frozen=True)
class _Job:
    """What a process does: open the model, and answer at a socket until a signal."""

    open_model: "functools.partial[ServedModel]"
    options: ServeOptions
    max_megapixels: int | None
    is_alone: bool

    def __call__(
        self, listener: socket.socket, when_ready: Callable[[str], None], admit: Callable[[str], None]
    ) -> None:
        if self.max_megapixels is not None:
            set_max_megapixels(self.max_megapixels)
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # malformed forms are no events of a server
        limits = self.options
        model = self.open_model()
        admit(model.identity)
        gate = app_of(model, limits)
        protocol = protocol_class(limits.header_timeout_s, limits.body_timeout_s, gate.note_refusal)
        config = uvicorn.Config(
            gate,
            http=protocol,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG if self.is_alone else 1,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            timeout_graceful_shutdown=int(_grace(limits)),
        )
        _Server(config, protocol, functools.partial(when_ready, model.remark)).run([listener])


class _Server(uvicorn.Server):
    """Reports that it is ready, ends without raising the signal again, and loses no connection that the system accepted."""

    def __init__(self, config: uvicorn.Config, protocol: type[TimedProtocol], when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._protocol = protocol
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            # asyncio accepts as many connections at a time as the system may hold: one worker would take a whole burst. With a
            # backlog of 1 it accepts one, and here the system's queue gets its length back.
            listener.listen(_BACKLOG)
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._protocol.is_stopping = True
        accepted = [connection for listener in sockets or () for connection in _accept_all(listener)]
        for server in self.servers:  # at once: what arrived in between would be reset
            server.close()
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.connect_accepted_socket(self._new, connection) for connection in accepted))
        await super().shutdown(sockets)

    def _new(self) -> TimedProtocol:
        return self._protocol(self.config, self.server_state, self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that the system has accepted and that wait for the server."""
    with contextlib.suppress(BlockingIOError, OSError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise ConfigError(f"port is {port}; expected a number from 0 to 65535 (0: a free one).")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        number = None if isinstance(error, UnicodeError | socket.gaierror) else error.errno
        reason = str(error) if number is None else os.strerror(number)
        raise ConfigError(
            f"{host}:{port}: cannot be listened at ({reason}). Choose another --host or --port; --port 0 finds a free one."
        ) from error
