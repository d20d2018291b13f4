"""The routes: what is asked of the model, what is said about it, and health."""

import asyncio
import functools
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, Query, Request
from numpy.typing import NDArray
from starlette.responses import JSONResponse, Response

from allmlp.data import max_pixels
from allmlp.errors import did_you_mean
from allmlp.io.display import quote
from allmlp.serve.answers import MAX_VALUES, AnswerSize
from allmlp.serve.http.openapi import ANSWERS, BODY, add_schemas
from allmlp.serve.instruments import CONTENT_TYPE
from allmlp.serve.options import ServeOptions
from allmlp.serve.page.files import PAGE_PATHS, page_route
from allmlp.serve.problems import Problem, try_again
from allmlp.serve.service import Question, Service

__all__ = ["add_routes"]

_FEWER_PHOTOS = "send fewer photos per request."

Classes = Annotated[
    list[str] | None,
    Query(alias="class", max_length=100, description="The classes to explain; by default the most probable ones."),
]
TopK = Annotated[int, Query(ge=1, le=100_000, description="Number of classes per photo, best first.")]


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


def add_routes(inner: FastAPI, service: Service) -> None:
    """Add all routes to an app."""
    model = service.model

    @inner.post(
        "/predict", responses=ANSWERS["predict"], openapi_extra=BODY, summary="Classes of photos", dependencies=_CHECKED
    )
    async def predict(request: Request, top_k: TopK = 5) -> Response:
        async def ask(content: bytes) -> Any:
            return await service.output(content, model.outputs)

        size = AnswerSize(
            min(top_k, model.num_classes), "classes", f"Ask for fewer classes (top_k), or {_FEWER_PHOTOS}"
        )
        return await service.answer(request, Question(ask, functools.partial(model.answer, top_k=top_k), size))

    @inner.post(
        "/embed", responses=ANSWERS["embed"], openapi_extra=BODY, summary="Features of photos", dependencies=_CHECKED
    )
    async def embed(request: Request) -> Response:
        async def ask(content: bytes) -> Any:
            return await service.output(content, model.features)

        size = AnswerSize(model.num_features, "features", _FEWER_PHOTOS.capitalize())
        return await service.answer(request, Question(ask, _as_features, size, model.open_features))

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
            raise try_again("not_ready", "The model does not answer.")
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
    known = frozenset(model.info["classes"])

    @inner.post(
        "/explain",
        responses=ANSWERS["explain"],
        openapi_extra=BODY,
        summary="Which patches spoke for a class",
        dependencies=_CHECKED,
    )
    async def explain(request: Request, classes: Classes = None) -> Response:
        others = sorted(set(classes or ()) - known)
        if others:
            raise Problem(
                400, "unknown_class", f"{quote(others[0])} is not a class of this model; GET /info lists them."
            )

        def compute(photos: Sequence[Any]) -> list[Any]:
            return [model.explain(photo, classes) for photo in photos]

        async def ask(content: bytes) -> Any:
            return await service.output(content, compute, decode=model.decode_to_explain, is_slow=True)

        size = AnswerSize(
            model.num_contributions(classes),
            "contributions of patches to classes",
            f"Ask for fewer classes (class), or {_FEWER_PHOTOS}",
        )
        return await service.answer(request, Question(ask, model.explanation, size, model.open_explain))


def _as_features(row: NDArray[np.float32]) -> dict[str, Any]:
    return {"features": row.tolist()}


def _limits(options: ServeOptions) -> dict[str, Any]:
    return {
        "max_photos": options.max_photos,
        "max_upload_bytes": options.max_upload_bytes,
        "max_pixels": max_pixels(),
        "max_queue": options.max_queue,
        "max_values": MAX_VALUES,
        "timeout_s": options.timeout_s,
    }
