"""`app`: the ASGI app of a model, for any ASGI server."""

import asyncio
import atexit
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from allmlp import __version__
from allmlp.checkpoints import Checkpoint
from allmlp.io.display import shorten
from allmlp.serve.batching import Batcher
from allmlp.serve.http.access_log import AccessLog
from allmlp.serve.http.gate import Gate
from allmlp.serve.instruments import Instruments
from allmlp.serve.models import ServedModel
from allmlp.serve.options import ServeOptions, check_extra
from allmlp.serve.problems import Problem, server_fault
from allmlp.serve.routes import add_routes
from allmlp.serve.service import Service

__all__ = ["app", "app_of"]

_WORDS = {404: "not_found", 405: "wrong_method"}


def app(
    source: str | Path | Checkpoint,
    *,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    options: ServeOptions | None = None,
) -> ASGIApp:
    """Return an ASGI app that answers for a model; the arguments are those of `open_model`, and the limits.

    The model is opened at once. Its threads start with the app's lifespan, or else with the first request: an app that is
    mounted in another one has no lifespan, and its threads end with the process.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: an invalid option, or a model without classes.
        MissingExtraError: the extra `serve` or a library of the backend is not installed.
    """
    check_extra()
    limits = ServeOptions() if options is None else options
    return app_of(ServedModel(source, backend=backend, device=device, precision=precision), limits)


class _Part(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


class _Threads:
    """The parts of an app that have threads: started once, and stopped by the lifespan or at the end of the process."""

    def __init__(self, *parts: _Part) -> None:
        self._parts = parts
        self._are_running = False
        self._lock = threading.Lock()

    def start(self) -> None:
        with self._lock:
            if not self._are_running:
                for part in self._parts:
                    part.start()
                atexit.register(self.stop)
                self._are_running = True

    def stop(self) -> None:
        with self._lock:
            if self._are_running:
                atexit.unregister(self.stop)
                for part in reversed(self._parts):
                    part.stop()
                self._are_running = False


def app_of(model: ServedModel, options: ServeOptions) -> Gate:
    """Return the app of a model that is open."""
    instruments, log = Instruments(), AccessLog()
    batcher = Batcher(
        max_batch=options.max_batch,
        max_wait_s=options.max_wait_ms / 1000,
        max_queue=options.max_queue,
        instruments=instruments,
    )
    service = Service(model, batcher, options, instruments)
    threads = _Threads(log, service)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        threads.start()
        try:
            yield
        finally:
            await asyncio.to_thread(threads.stop)

    inner = FastAPI(
        title="allmlp",
        version=__version__,
        description="Classifies photos with an MLP-Mixer.",
        docs_url=None,  # these two pages load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    add_routes(inner, service)
    inner.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    inner.add_exception_handler(RequestValidationError, _invalid_parameter)  # type: ignore[arg-type]
    inner.add_exception_handler(Problem, _problem)  # type: ignore[arg-type]
    inner.add_exception_handler(Exception, _fault)
    routes = [route.path for route in inner.routes if hasattr(route, "path")]
    return Gate(inner, api_keys=options.api_keys, routes=routes, start=threads.start, log=log, instruments=instruments)


async def _fault(_request: Request, _error: Exception) -> JSONResponse:  # Gate logs the error
    problem = server_fault()
    return JSONResponse(problem.body, problem.status)


async def _problem(_: Request, error: Problem) -> JSONResponse:
    return JSONResponse(error.body, error.status, error.headers)


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    message = "There is nothing at this path."
    if allowed := (error.headers or {}).get("Allow"):
        message = f"{request.scope['path']} takes {allowed}, not {shorten(request.method, 20)}."
    problem = Problem(error.status_code, _WORDS.get(error.status_code, "refused"), message)
    return JSONResponse(problem.body, error.status_code, error.headers)


async def _invalid_parameter(_: Request, error: RequestValidationError) -> JSONResponse:
    problems = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()[:3])
    return JSONResponse(Problem(400, "bad_parameter", f"{problems}.").body, 400)
