"""`Service`: a model with its threads and queues, and the path of a request through them."""

import asyncio
import contextlib
import functools
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from allmlp.data import PhotoError, ShortageError
from allmlp.errors import AllmlpError, ConfigError, MissingExtraError, shortage
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.ordered_map import drop_locals
from allmlp.serve.answers import AnswerSize, check_size, encode
from allmlp.serve.batching import Batcher, Compute
from allmlp.serve.http.incoming import BodyMemory, SentPhoto, body_kind, photos_in, read_body
from allmlp.serve.instruments import Instruments
from allmlp.serve.models import ServedModel
from allmlp.serve.options import ServeOptions
from allmlp.serve.problems import GoneError, Problem, photo_problem, problem_of_all, try_again

__all__ = ["Question", "Service"]

_NUM_ANSWERING_THREADS = 2  # so that a small answer need not wait for a large one
_Result = tuple[str, dict[str, Any] | Problem]
"""The name of a photo, and what is answered for it or its error, which is its own."""


class Question(NamedTuple):
    """What a request asks of its photos.

    Attributes:
        ask: from the bytes of a photo's file to the output of the model. Raises Problem.
        write: from that output to what is answered for the photo, in another thread than that of the event loop.
        size: of what is answered for each photo.
        opening: opens the model for that first, and does nothing if it is open.
    """

    ask: Callable[[bytes], Awaitable[Any]]
    write: Callable[[Any], dict[str, Any]]
    size: AnswerSize
    opening: Callable[[], None] | None = None


class Service:
    """A model with its threads and queues, and the path of a request through them.

    Requests may come from several event loops, one after another or at the same time.
    """

    def __init__(self, model: ServedModel, batcher: Batcher, options: ServeOptions, instruments: Instruments) -> None:
        self.model, self.options, self.instruments = model, options, instruments
        self._batcher = batcher
        self._memory = BodyMemory(options)
        self._decoding: ThreadPoolExecutor | None = None
        self._answering: ThreadPoolExecutor | None = None
        self._opening: ThreadPoolExecutor | None = None
        self._opened: dict[Callable[[], None], Future[None]] = {}

    def start(self) -> None:
        """Start the threads."""
        self._decoding = ThreadPoolExecutor(num_decoding_threads(), thread_name_prefix="decoding")
        self._answering = ThreadPoolExecutor(_NUM_ANSWERING_THREADS, thread_name_prefix="answering")
        self._opening = ThreadPoolExecutor(1, thread_name_prefix="opening")
        self._opened.clear()
        self._batcher.start()

    def stop(self) -> None:
        """Stop the threads."""
        self._batcher.stop()
        for pool in (self._decoding, self._answering, self._opening):
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        """Whether photos are answered."""
        return self._batcher.is_alive

    async def answer(self, request: Request, question: Question) -> Response:
        """Answer a request. Raises Problem."""
        self._batcher.check_room()
        scope = request.scope
        kind, parameters = body_kind(scope)
        with self._memory.share() as share:
            body = await read_body(scope, request.receive, self.options, share)
            start = time.monotonic()
            answering = asyncio.ensure_future(self._answer_body(body, kind, parameters, question))
            del body
            results, content = await self._while_connected(request, answering)
        problems = [result for _, result in results if isinstance(result, Problem)]
        for _, result in results:
            self.instruments.photos.labels(result.code if isinstance(result, Problem) else "ok").inc()
        scope["allmlp"].update(
            photos=len(results), failed=len(problems), model_ms=round(1000 * (time.monotonic() - start), 2)
        )
        if len(problems) == len(results):
            raise problem_of_all(problems)
        return Response(content, media_type="application/json")

    async def _while_connected(
        self, request: Request, answering: "asyncio.Future[tuple[list[_Result], bytes]]"
    ) -> tuple[list[_Result], bytes]:
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
        self, body: bytes, kind: str, parameters: dict[bytes, bytes], question: Question
    ) -> tuple[list[_Result], bytes]:
        """Return what is answered for each photo, and the JSON of that."""
        with self._batcher.room(1):
            take_apart = functools.partial(photos_in, body, kind, parameters, max_photos=self.options.max_photos)
            sent = await _in_pool(self._decoding, take_apart)
        del body, take_apart
        check_size(len(sent), question.size)
        with self._batcher.room(len(sent)):
            if question.opening is not None:
                await self._open(question.opening)
            results = await asyncio.gather(*(self._result(photo, question) for photo in sent))
            with _shortages_as_problems():
                return results, await _in_pool(self._answering, _written, results)

    async def _result(self, photo: SentPhoto, question: Question) -> _Result:
        if isinstance(photo.content, Problem):
            return photo.name, photo.content
        try:
            output = await question.ask(photo.content)
            return photo.name, await _in_pool(self._answering, question.write, output)
        except Problem as problem:
            return photo.name, problem.with_traceback(None)  # which holds the photo
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            if shortage(error):
                return photo.name, _lacks_memory()
            message = "The model failed on this photo. The log of the server says more."
            return photo.name, Problem(500, "model_failed", message)

    async def _open(self, function: Callable[[], None]) -> None:
        """Open the model for something else, once for all requests that wait for it; it goes on when they have given up."""
        assert self._opening is not None
        opened = self._opened.get(function)
        if opened is None or (opened.done() and opened.exception() is not None):
            opened = self._opened[function] = self._opening.submit(_open_or_report, function)
        try:
            with _shortages_as_problems():
                await asyncio.shield(asyncio.wrap_future(opened))
        except (ConfigError, MissingExtraError) as error:  # their messages are for the owner, and may have paths
            raise Problem(
                501, "unavailable", "The backend of this server cannot compute this. The server's log says why."
            ) from error
        except AllmlpError as error:
            raise try_again(
                "cannot_open", "The server cannot open its model for this now. The server's log says why."
            ) from error

    async def output(
        self,
        content: bytes,
        compute: Compute,
        *,
        decode: Callable[[bytes], Any] | None = None,
        is_slow: bool = False,
    ) -> Any:
        """Return what a function of the model makes of a photo, decoded for `ServedModel.outputs` or by `decode`.

        A slow one computes photo by photo. Raises Problem.
        """
        prepared = await _in_pool(self._decoding, self._decoded, content, decode or self.model.decode)
        return await self._batcher.submit(prepared, compute, is_slow=is_slow)

    def _decoded(self, content: bytes, decode: Callable[[bytes], Any]) -> Any:
        with self._batcher.coming():
            try:
                return decode(content)
            except ShortageError as error:
                drop_locals(error)
                raise _lacks_memory() from None
            except PhotoError as error:
                drop_locals(error)
                raise photo_problem(error) from None


async def _in_pool(pool: ThreadPoolExecutor | None, function: Callable[..., Any], *arguments: Any) -> Any:
    assert pool is not None
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


def _written(results: Sequence[_Result]) -> bytes:
    """Return the JSON of an answer; b"" if no photo has one."""
    if all(isinstance(result, Problem) for _, result in results):
        return b""
    return encode(
        [{"source": name, **(result.body if isinstance(result, Problem) else result)} for name, result in results]
    )


def _open_or_report(function: Callable[[], None]) -> None:
    """Open the model; report why it cannot be opened, once for all requests that wait for it."""
    try:
        function()
    except AllmlpError as error:
        sys.stderr.write(f"allmlp serve: {error}\n")
        raise


@contextlib.contextmanager
def _shortages_as_problems() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if shortage(error):
            raise try_again("no_memory", "The server lacks memory for this. Try again later.") from error
        raise


def _lacks_memory() -> Problem:
    return try_again("no_memory", "The server lacks memory for this photo. Try again.")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
