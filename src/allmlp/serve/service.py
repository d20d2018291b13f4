"""`Service`: a model with its threads and queues, and the path of a request through them."""

import asyncio
import functools
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from allmlp.data import PhotoError, ShortageError
from allmlp.errors import AllmlpError, shortage
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.ordered_map import drop_locals
from allmlp.serve.batching import Batcher, Compute
from allmlp.serve.http.incoming import BodyMemory, SentPhoto, body_kind, photos_in, read_body
from allmlp.serve.instruments import Instruments
from allmlp.serve.models import ServedModel
from allmlp.serve.options import ServeOptions
from allmlp.serve.problems import GoneError, Problem, photo_problem, problem_of_all, try_again

__all__ = ["AnswerPhoto", "Service"]

AnswerPhoto = Callable[[bytes], Awaitable[dict[str, Any]]]
"""From the bytes of a photo's file to what is answered for it. Raises Problem."""

_Result = tuple[str, dict[str, Any] | Problem]
"""The name of a photo, and what is answered for it or its error, which is its own."""


class Service:
    """A model with its threads and queues, and the path of a request through them.

    Requests may come from several event loops, one after another or at the same time.
    """

    def __init__(self, model: ServedModel, batcher: Batcher, options: ServeOptions, instruments: Instruments) -> None:
        self.model, self.options, self.instruments = model, options, instruments
        self._batcher = batcher
        self._memory = BodyMemory(options)
        self._decoding: ThreadPoolExecutor | None = None
        self._opening: ThreadPoolExecutor | None = None
        self._opened: dict[Callable[[], None], Future[None]] = {}
        self._explaining: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def start(self) -> None:
        """Start the threads."""
        self._decoding = ThreadPoolExecutor(num_decoding_threads(), thread_name_prefix="decoding")
        self._opening = ThreadPoolExecutor(1, thread_name_prefix="opening")
        self._opened.clear()
        self._batcher.start()

    def stop(self) -> None:
        """Stop the threads."""
        self._batcher.stop()
        for pool in (self._decoding, self._opening):
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        """Whether photos are answered."""
        return self._batcher.is_alive

    async def answer(
        self, request: Request, answer_photo: AnswerPhoto, *, opening: Callable[[], None] | None = None
    ) -> Response:
        """Answer a request with what `answer_photo` makes of each photo.

        `opening` opens the model for that first, and does nothing if it is open. Raises Problem.
        """
        self._batcher.check_room()
        scope = request.scope
        kind, parameters = body_kind(scope)
        with self._memory.share() as share:
            body = await read_body(scope, request.receive, self.options, share)
            start = time.monotonic()
            answering = asyncio.ensure_future(self._answer_body(body, kind, parameters, answer_photo, opening))
            del body
            results = await self._while_connected(request, answering)
        problems = [result for _, result in results if isinstance(result, Problem)]
        for _, result in results:
            self.instruments.photos.labels(result.code if isinstance(result, Problem) else "ok").inc()
        scope["allmlp"].update(
            photos=len(results), failed=len(problems), model_ms=round(1000 * (time.monotonic() - start), 2)
        )
        if len(problems) == len(results):
            raise problem_of_all(problems)
        return JSONResponse(
            {
                "results": [
                    {"source": name, **(result.body if isinstance(result, Problem) else result)}
                    for name, result in results
                ]
            }
        )

    async def _while_connected(self, request: Request, answering: "asyncio.Future[list[_Result]]") -> list[_Result]:
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
        self,
        body: bytes,
        kind: str,
        parameters: dict[bytes, bytes],
        answer_photo: AnswerPhoto,
        opening: Callable[[], None] | None,
    ) -> list[_Result]:
        with self._batcher.room(1):
            take_apart = functools.partial(photos_in, body, kind, parameters, max_photos=self.options.max_photos)
            sent = await self._in_pool(take_apart)
        del body, take_apart
        with self._batcher.room(len(sent)):
            if opening is not None:
                await self._open(opening)
            return await asyncio.gather(*(_result(photo, answer_photo) for photo in sent))

    async def _open(self, function: Callable[[], None]) -> None:
        """Open the model for something else, once for all requests that wait for it; it goes on when they have given up."""
        assert self._opening is not None
        opened = self._opened.get(function)
        if opened is None or (opened.done() and opened.exception() is not None):
            opened = self._opened[function] = self._opening.submit(function)
        try:
            await asyncio.shield(asyncio.wrap_future(opened))
        except AllmlpError as error:
            raise Problem(501, "unavailable", str(error)) from error
        except Exception as error:
            if shortage(error):
                raise try_again("no_memory", "The server lacks memory for this. Try again later.") from error
            raise

    async def output(self, content: bytes, compute: Compute) -> NDArray[np.float32]:
        """Return the output (K,) of a function of the model for a photo. Raises Problem."""
        image = await self._in_pool(self._decoded, content, self.model.decode)
        output: NDArray[np.float32] = await self._batcher.submit(image, compute)
        return output

    async def explanation(self, content: bytes, compute: Compute) -> dict[str, Any]:
        """Return what a function makes of all pixels of a photo. Few at a time hold so many. Raises Problem."""
        loop = asyncio.get_running_loop()
        async with self._explaining.setdefault(loop, asyncio.Semaphore(num_decoding_threads())):
            pixels = await self._in_pool(self._decoded, content, self.model.pixels)
            answer: dict[str, Any] = await self._batcher.submit(pixels, compute, is_slow=True)
        return answer

    async def _in_pool(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._decoding, function, *arguments)

    def _decoded(self, content: bytes, decode: Callable[[bytes], NDArray[Any]]) -> NDArray[Any]:
        with self._batcher.coming():
            try:
                return decode(content)
            except ShortageError as error:
                drop_locals(error)
                raise _lacks_memory() from None
            except PhotoError as error:
                drop_locals(error)
                raise photo_problem(error) from None


async def _result(photo: SentPhoto, answer_photo: AnswerPhoto) -> _Result:
    if isinstance(photo.content, Problem):
        return photo.name, photo.content
    try:
        return photo.name, await answer_photo(photo.content)
    except Problem as problem:
        return photo.name, problem.with_traceback(None)  # which holds the photo
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        if shortage(error):
            return photo.name, _lacks_memory()
        message = "The model failed on this photo. The log of the server says more."
        return photo.name, Problem(500, "model_failed", message)


def _lacks_memory() -> Problem:
    return try_again("no_memory", "The server lacks memory for this photo. Try again.")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
