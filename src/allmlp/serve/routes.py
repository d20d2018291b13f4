"""The routes: what is asked of the model, what is said about it, and health."""

import asyncio
import functools
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, Query, Request
from numpy.typing import NDArray
from starlette.responses import JSONResponse, Response

from allmlp.errors import AllmlpError, DataError, did_you_mean, shortage
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.display import quote
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

AnswerPhoto = Callable[[bytes], Awaitable[dict[str, Any]]]
"""From the bytes of a photo's file to what is answered for it. Raises Problem."""

Classes = Annotated[
    list[str] | None,
    Query(alias="class", max_length=100, description="The classes to explain; by default the most probable ones."),
]
TopK = Annotated[int, Query(ge=1, le=100_000, description="Number of classes per photo, best first.")]


class Service:
    """A model with its threads and queues, and the path of a request through them."""

    def __init__(self, model: ServedModel, batcher: Batcher, options: ServeOptions, instruments: Instruments) -> None:
        self.model, self.options, self.instruments = model, options, instruments
        self._batcher = batcher
        self._memory = BodyMemory(options)
        self._pool: ThreadPoolExecutor | None = None
        self._opening = asyncio.Lock()
        self._explaining = asyncio.Semaphore(num_decoding_threads())

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

    async def answer(self, request: Request, answer_photo: AnswerPhoto) -> Response:
        """Answer a request with what `answer_photo` makes of each photo."""
        self._batcher.check_room()
        scope = request.scope
        kind, parameters = body_kind(scope)
        with self._memory.share() as share:
            body = await read_body(scope, request.receive, self.options, share)
            start = time.monotonic()
            answering = asyncio.ensure_future(self._answer_body(body, kind, parameters, answer_photo))
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
        self, body: bytes, kind: str, parameters: dict[bytes, bytes], answer_photo: AnswerPhoto
    ) -> list[dict[str, Any]]:
        with self._batcher.room(1):
            take_apart = functools.partial(photos_in, body, kind, parameters, max_photos=self.options.max_photos)
            sent = await self._in_pool(take_apart)
        del body, take_apart
        with self._batcher.room(len(sent)):
            return await asyncio.gather(*(_result(photo, answer_photo) for photo in sent))

    async def output(self, content: bytes, compute: Compute) -> NDArray[np.float32]:
        """Return the output (K,) of a function of the model for a photo. Raises Problem."""
        image = await self._in_pool(self._decoded, content, self.model.decode)
        output: NDArray[np.float32] = await self._batcher.submit(image, compute)
        return output

    async def explanation(self, content: bytes, compute: Compute) -> dict[str, Any]:
        """Return what a function makes of all pixels of a photo. Few at a time hold so many. Raises Problem."""
        async with self._explaining:
            pixels = await self._in_pool(self._decoded, content, self.model.pixels)
            answer: dict[str, Any] = await self._batcher.submit(pixels, compute)
        return answer

    async def _in_pool(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    def _decoded(self, content: bytes, decode: Callable[[bytes], NDArray[Any]]) -> NDArray[Any]:
        with self._batcher.coming():
            try:
                return decode(content)
            except DataError as error:
                drop_locals(error)
                if error.__cause__ is not None and shortage(error.__cause__):
                    raise Problem(503, "no_memory", "The server lacks memory for this photo. Try again.") from None
                raise Problem(422, "bad_photo", _sentence(str(error))) from None

    async def open(self, function: Callable[[], None]) -> None:
        """Open the model for something else, by a function that does nothing if it is open. Raises Problem."""
        self._batcher.check_room()
        try:
            async with self._opening:  # requests that wait for it hold no thread
                await asyncio.to_thread(function)
        except MemoryError as error:
            raise Problem(503, "no_memory", "The server lacks memory for this. Try again later.") from error
        except AllmlpError as error:
            raise Problem(501, "unavailable", str(error)) from error


async def _result(photo: SentPhoto, answer_photo: AnswerPhoto) -> dict[str, Any]:
    """Return what is answered for a photo: its name, and an answer or an error, which is its own."""
    try:
        if isinstance(photo.content, Problem):
            raise photo.content
        return {"source": photo.name, **await answer_photo(photo.content)}
    except Problem as problem:
        return {"source": photo.name, **problem.body}
    except Exception:
        traceback.print_exc(file=sys.stderr)
        failure = Problem(500, "model_failed", "The model failed on this photo. The log of the server says more.")
        return {"source": photo.name, **failure.body}


async def _check_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not take: a misspelt one would have no effect. Raises Problem."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none"
            raise Problem(
                400,
                "bad_parameter",
                f"There is no parameter {quote(name)}.{did_you_mean(name, known)} {request.scope['path']} {takes}.",
            )


_CHECKED = [Depends(_check_parameters)]


def _sentence(message: str) -> str:
    """Return a message without the name at its start, which stands next to it."""
    words = message.removeprefix("photo: ")
    return words[:1].upper() + words[1:]


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _all_bad(results: Sequence[dict[str, Any]]) -> str:
    first = results[0]["error"]["message"]
    return f"None of the {len(results)} photos can be used. The first: {first}"


def add_routes(inner: FastAPI, service: Service) -> None:
    """Add all routes to an app."""
    model = service.model

    @inner.post(
        "/predict", responses=ANSWERS["predict"], openapi_extra=BODY, summary="Classes of photos", dependencies=_CHECKED
    )
    async def predict(request: Request, top_k: TopK = 5) -> Response:
        async def answer_photo(content: bytes) -> dict[str, Any]:
            return model.answer(await service.output(content, model.outputs), top_k)

        return await service.answer(request, answer_photo)

    @inner.post(
        "/embed", responses=ANSWERS["embed"], openapi_extra=BODY, summary="Features of photos", dependencies=_CHECKED
    )
    async def embed(request: Request) -> Response:
        await service.open(model.open_features)

        async def answer_photo(content: bytes) -> dict[str, Any]:
            return {"features": (await service.output(content, model.features)).tolist()}

        return await service.answer(request, answer_photo)

    if model.explains:
        _add_explain(inner, service)

    @inner.get("/info", responses=ANSWERS["keyed"], summary="The classes and the model")
    async def info() -> Response:
        return JSONResponse({**model.info, "limits": _limits(service.options)})

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


def _add_explain(inner: FastAPI, service: Service) -> None:
    model = service.model

    @inner.post(
        "/explain",
        responses=ANSWERS["explain"],
        openapi_extra=BODY,
        summary="Which patches spoke for a class",
        dependencies=_CHECKED,
    )
    async def explain(request: Request, classes: Classes = None) -> Response:
        others = sorted(set(classes or ()) - set(model.info["classes"]))
        if others:
            raise Problem(
                400, "unknown_class", f"{quote(others[0])} is not a class of this model; GET /info lists them."
            )
        await service.open(model.open_explain)

        def compute(photos: Sequence[NDArray[np.uint8]]) -> list[Any]:
            return [model.explain(photo, classes) for photo in photos]

        async def answer_photo(content: bytes) -> dict[str, Any]:
            return await service.explanation(content, compute)

        return await service.answer(request, answer_photo)


def _limits(options: ServeOptions) -> dict[str, Any]:
    return {
        "max_photos": options.max_photos,
        "max_upload_bytes": options.max_upload_bytes,
        "timeout_s": options.timeout_s,
    }
