"""The routes: what is asked of the model, what is said about it, and health."""

import asyncio
import functools
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from numpy.typing import NDArray
from starlette.responses import JSONResponse, Response

from allmlp.errors import AllmlpError, DataError, shortage
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.ordered_map import drop_locals
from allmlp.serve.batching import Batcher, Compute
from allmlp.serve.http.incoming import BodyMemory, SentPhoto, body_kind, photos_in, read_body
from allmlp.serve.http.openapi import ANSWERS, BODY, add_schemas
from allmlp.serve.instruments import CONTENT_TYPE, Instruments
from allmlp.serve.models import ServedModel
from allmlp.serve.options import ServeOptions
from allmlp.serve.page.files import PAGE_PATHS, page_route
from allmlp.serve.problems import GoneError, Problem, error_object

__all__ = ["Service", "add_routes"]

Describe = Callable[[NDArray[np.float32]], dict[str, Any]]
TopK = Annotated[int, Query(ge=1, le=100_000, description="Number of classes per photo, best first.")]


class Service:
    """A model with its threads and queues, and the path of a request through them."""

    def __init__(self, model: ServedModel, batcher: Batcher, options: ServeOptions, instruments: Instruments) -> None:
        self.model, self.options, self.instruments = model, options, instruments
        self._batcher = batcher
        self._memory = BodyMemory(options)
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Start the threads."""
        self._pool = ThreadPoolExecutor(num_decoding_threads(), thread_name_prefix="decoding")
        self._batcher.start()

    def stop(self) -> None:
        """Stop the threads."""
        self._batcher.stop()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        """Whether photos are answered."""
        return self._batcher.is_alive

    async def answer(self, request: Request, compute: Compute, describe: Describe) -> Response:
        """Answer a request with what `describe` makes of the output of each photo."""
        self._batcher.check_room()
        scope = request.scope
        kind, parameters = body_kind(scope)
        with self._memory.share() as share:
            body = await read_body(scope, request.receive, self.options, share)
            start = time.monotonic()
            answering = asyncio.ensure_future(self._answer_body(body, kind, parameters, compute, describe))
            del body
            results = await self._while_connected(request, answering)
        outcomes = [result.get("error", {}).get("code", "ok") for result in results]
        for outcome in outcomes:
            self.instruments.photos.labels(outcome).inc()
        scope["allmlp"].update(
            photos=len(results),
            failed=len(results) - outcomes.count("ok"),
            model_ms=round(1000 * (time.monotonic() - start), 2),
        )
        errors = [result["error"] for result in results if "error" in result]
        if len(errors) == len(results):
            error = errors[0] if len(errors) == 1 else error_object(422, "bad_photos", _all_bad(results))
            return JSONResponse({"error": error}, error["status"])
        return JSONResponse({"results": results})

    async def _while_connected(
        self, request: Request, answering: "asyncio.Future[list[dict[str, Any]]]"
    ) -> list[dict[str, Any]]:
        """Wait for an answer until the deadline, or until the client is gone; then drop the work."""
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait((answering, gone), timeout=self.options.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                return answering.result()
            if gone.done():
                raise GoneError
            raise Problem(
                504, "deadline", f"The answer took longer than {self.options.timeout_s:g} seconds.", Retry_After="1"
            )
        finally:
            for task in (answering, gone):
                task.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)

    async def _answer_body(
        self, body: bytes, kind: str, parameters: dict[bytes, bytes], compute: Compute, describe: Describe
    ) -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        with self._batcher.room(1):
            take_apart = functools.partial(photos_in, body, kind, parameters, max_photos=self.options.max_photos)
            sent = await loop.run_in_executor(self._pool, take_apart)
        del body, take_apart
        with self._batcher.room(len(sent)):
            return await asyncio.gather(*(self._answer_photo(photo, compute, describe) for photo in sent))

    async def _answer_photo(self, photo: SentPhoto, compute: Compute, describe: Describe) -> dict[str, Any]:
        try:
            if isinstance(photo.content, Problem):
                raise photo.content
            loop = asyncio.get_running_loop()
            image = await loop.run_in_executor(self._pool, self._decode, photo)
            output = await self._batcher.submit(image, compute)
        except Problem as problem:
            return {"source": photo.name, **problem.body}
        except Exception:
            traceback.print_exc(file=sys.stderr)
            failure = Problem(500, "model_failed", "The model failed on this photo. The log of the server says more.")
            return {"source": photo.name, **failure.body}
        return {"source": photo.name, **describe(output)}

    def _decode(self, photo: SentPhoto) -> NDArray[Any]:
        assert isinstance(photo.content, bytes)
        with self._batcher.coming():
            try:
                return self.model.decode(photo.content, "photo")
            except DataError as error:
                drop_locals(error)
                if error.__cause__ is not None and shortage(error.__cause__):
                    raise Problem(503, "no_memory", "The server lacks memory for this photo. Try again.") from None
                raise Problem(422, "bad_photo", str(error)) from None

    async def open_features(self) -> None:
        """Open the model for features, unless it is open."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, self.model.open_features)
        except AllmlpError as error:
            raise Problem(503, "no_features", str(error)) from error


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _all_bad(results: Sequence[dict[str, Any]]) -> str:
    first = results[0]["error"]["message"]
    return f"None of the {len(results)} photos can be used. The first: {first}"


def add_routes(inner: FastAPI, service: Service) -> None:
    """Add all routes to an app."""
    model = service.model

    @inner.post("/predict", responses=ANSWERS["predict"], openapi_extra=BODY, summary="Classes of photos")
    async def predict(request: Request, top_k: TopK = 5) -> Response:
        def describe(logits: NDArray[np.float32]) -> dict[str, Any]:
            return {"labels": list(model.labels(logits, top_k))}

        return await service.answer(request, model.logits, describe)

    @inner.post("/embed", responses=ANSWERS["embed"], openapi_extra=BODY, summary="Features of photos")
    async def embed(request: Request) -> Response:
        await service.open_features()
        return await service.answer(request, model.features, lambda features: {"features": features.tolist()})

    @inner.get("/info", responses=ANSWERS["keyed"], summary="The classes and the model")
    async def info() -> Response:
        return JSONResponse({**model.info, "explain": False, "limits": _limits(service.options)})

    @inner.get("/livez", summary="Whether the server runs")
    async def livez() -> Response:
        return JSONResponse({"status": "ok"})

    @inner.get("/readyz", responses=ANSWERS["readyz"], summary="Whether photos are answered")
    async def readyz() -> Response:
        if not service.is_ready:
            raise Problem(503, "not_ready", "The model does not answer.", Retry_After="1")
        return JSONResponse({"status": "ok"})

    @inner.get(
        "/metrics", responses=ANSWERS["keyed"], summary="Counts and times, for Prometheus", response_class=Response
    )
    async def metrics() -> Response:
        text = await asyncio.to_thread(service.instruments.text)
        return Response(text, media_type=CONTENT_TYPE)

    for path in PAGE_PATHS:
        inner.add_api_route(path, page_route(path), methods=["GET"], include_in_schema=False)
    add_schemas(inner)


def _limits(options: ServeOptions) -> dict[str, Any]:
    return {
        "max_photos": options.max_photos,
        "max_upload_bytes": options.max_upload_bytes,
        "timeout_s": options.timeout_s,
    }
