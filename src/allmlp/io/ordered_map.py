"""Ordered maps over threads, with a bounded number of items in progress."""

import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from allmlp.errors import is_out_of_threads

__all__ = ["drop_locals", "ordered_map", "prefetch"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items (decoded photos) in progress per thread: enough to bridge a slow one, few enough for hundreds of megabytes in all.
_AHEAD = 32


class _Pool(ThreadPoolExecutor):
    """A pool that makes do with the threads it has if the system allows no more; it raises RuntimeError if it has none."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError as error:
            if not (is_out_of_threads(error) and self._threads):
                raise


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], num_workers: int) -> Iterator[Result]:
    """Yield `function(item)` in order, computed in `num_workers` threads (0: in the caller's) a bounded number ahead.

    If the system allows fewer threads, those are used, and the caller's if there are none.
    """
    pending: deque[Future[Result]] = deque()
    with _Pool(max(1, num_workers), thread_name_prefix="allmlp-decode") as pool:
        if num_workers == 0 or not _has_thread(pool):
            yield from map(function, items)
            return
        try:
            for item in items:
                pending.append(pool.submit(_call, function, item))
                if len(pending) > _AHEAD * num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def prefetch(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """Yield `items`; a thread computes the next one while the caller uses the current one.

    Exceptions from `items` are raised here. Closing early waits for the item that is being computed and closes `items`. A
    caller that stops early has to close explicitly: the garbage collector may close while this very thread holds the lock of
    all thread pools, which the item being computed waits for.
    """
    try:
        with _Pool(1, thread_name_prefix="allmlp-ahead") as pool:
            if not _has_thread(pool):
                yield from items
                return
            pending = pool.submit(_next_of, items)
            while current := pending.result():
                pending = pool.submit(_next_of, items)
                yield current[0]
    finally:
        items.close()  # after the pending item: a running generator cannot be closed


def drop_locals(error: BaseException) -> None:
    """Release what the functions that raised an error hold, such as the bytes of a photo, so that keeping it is cheap."""
    following: BaseException | None = error
    while following is not None:
        traceback.clear_frames(following.__traceback__)
        following = following.__cause__ or following.__context__


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    try:
        return function(item)
    except BaseException as error:
        drop_locals(error)  # it may wait for its turn
        raise


def _has_thread(pool: _Pool) -> bool:
    """Return whether the pool can run anything, after starting its first thread."""
    try:
        pool.submit(int)
    except RuntimeError as error:
        if is_out_of_threads(error):
            return False
        raise
    return True


def _next_of(items: Iterator[Item]) -> tuple[Item] | None:
    """Return the next item in a tuple; None at the end, because a thread cannot pass on a StopIteration."""
    for item in items:
        return (item,)
    return None
