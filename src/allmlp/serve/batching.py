"""`Batcher`: photos of many requests, computed together by one thread.

What is in a batch never changes an answer (inference/backends/micro_batches.py), and a photo that makes the model fail fails
alone: its batch is computed again, photo by photo. The number of photos between acceptance and answer is bounded, so that a
queue cannot grow; photos whose client is gone or whose deadline has passed are dropped when their turn comes. Slow jobs, which
are explanations, take turns with batches, one at a time, so that a photo waits for one of them at most.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from allmlp.serve.instruments import Instruments
from allmlp.serve.problems import Problem, try_again

__all__ = ["Batcher", "Compute"]

Compute = Callable[[Sequence[Any]], Sequence[Any]]
"""From what is known of each photo of a batch to the model's answer for each."""


@dataclass(frozen=True)
class _Job:
    photo: Any
    compute: Compute
    answer: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class Batcher:
    """One thread that computes, and the bounded queue in front of it. All methods but `_run` are called on event loops."""

    def __init__(self, *, max_batch: int, max_wait_s: float, max_queue: int, instruments: Instruments) -> None:
        self._max_batch, self._max_wait_s, self._max_queue = max_batch, max_wait_s, max_queue
        self._instruments = instruments
        self._jobs: deque[_Job] = deque()
        self._slow_jobs: deque[_Job] = deque()
        self._was_slow = False  # the last turn
        self._num_coming = 0  # photos that are being decoded
        self._num_accepted = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after what it has begun."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def check_room(self) -> None:
        """Raise a Problem if no further photo would be accepted now."""
        if self._num_accepted >= self._max_queue:
            raise self._full()

    @contextlib.contextmanager
    def room(self, number: int) -> Iterator[None]:
        """Hold room for a number of photos, from their acceptance to their answer.

        Raises:
            Problem: there is not as much room.
        """
        with self._changed:
            if self._num_accepted + number > self._max_queue:
                raise self._full()
            self._count(number)
        try:
            yield
        finally:
            with self._changed:
                self._count(-number)

    def _count(self, number: int) -> None:
        self._num_accepted += number
        self._instruments.waiting.set(self._num_accepted)

    def _full(self) -> Problem:
        self._instruments.refused.inc()
        return try_again("busy", "The server is busy. Try again soon.")

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """Announce a photo while it is decoded, in any thread: a batch that is not full waits for it."""
        with self._changed:
            self._num_coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_coming -= 1
                self._changed.notify()

    def submit(self, photo: Any, compute: Compute, *, is_slow: bool = False) -> "asyncio.Future[Any]":
        """Return a future of what `compute` makes of a photo, by itself if that is slow. Cancelled, it is not computed."""
        loop = asyncio.get_running_loop()
        job = _Job(photo, compute, loop.create_future(), loop)
        with self._changed:
            (self._slow_jobs if is_slow else self._jobs).append(job)
            self._changed.notify()
        return job.answer

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._slow_jobs or self._is_closed)
                if not self._jobs and not self._slow_jobs:
                    return
                batch = self._next_batch()
            if batch:
                self._compute(batch)

    def _next_batch(self) -> list[_Job]:
        self._was_slow = bool(self._slow_jobs) and not (self._jobs and self._was_slow)
        if self._was_slow:
            return self._taken(self._slow_jobs, 1)
        self._wait_for_others()
        return self._taken(self._jobs, self._max_batch)

    def _wait_for_others(self) -> None:
        end = time.monotonic() + self._max_wait_s
        while len(self._jobs) < self._max_batch and self._num_coming and not self._is_closed:
            left = end - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                return

    def _taken(self, jobs: deque[_Job], most: int) -> list[_Job]:
        """Remove the next batch from a queue, of photos for one function, and what nobody waits for any more."""
        batch: list[_Job] = []
        others: list[_Job] = []
        while jobs and len(batch) < most:
            job = jobs.popleft()
            if job.answer.cancelled():
                self._instruments.dropped.inc()
            elif batch and job.compute != batch[0].compute:
                others.append(job)
            else:
                batch.append(job)
        jobs.extendleft(reversed(others))
        return batch

    def _compute(self, batch: Sequence[_Job]) -> None:
        start = time.monotonic()
        answers: Sequence[Any]
        try:
            answers = batch[0].compute([job.photo for job in batch])
        except Exception as error:
            answers = [error] if len(batch) == 1 else [_alone(job) for job in batch]
        self._instruments.batch_photos.observe(len(batch))
        self._instruments.compute_seconds.observe(time.monotonic() - start)
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Any]]] = {}
        for job, answer in zip(batch, answers, strict=True):
            by_loop.setdefault(job.loop, []).append((job, answer))
        for loop, pairs in by_loop.items():
            with contextlib.suppress(RuntimeError):  # a loop that was closed
                loop.call_soon_threadsafe(_deliver, pairs)


def _alone(job: _Job) -> Any:
    try:
        return job.compute([job.photo])[0]
    except Exception as error:
        return error


def _deliver(pairs: Sequence[tuple[_Job, Any]]) -> None:
    for job, answer in pairs:
        if job.answer.done():  # cancelled
            continue
        if isinstance(answer, Exception):
            job.answer.set_exception(answer)
        else:
            job.answer.set_result(answer)
