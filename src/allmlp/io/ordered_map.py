"""Ordered maps over threads, with a bounded number of items in progress."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ordered_map", "prefetch"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items (decoded photos) in progress per thread: enough to bridge a slow one, few enough for hundreds of megabytes in all.
_AHEAD = 32


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], num_workers: int) -> Iterator[Result]:
    """Yield `function(item)` in order, computed in `num_workers` threads (0: in the caller's) a bounded number ahead."""
    if num_workers == 0:
        yield from map(function, items)
        return
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_workers, thread_name_prefix="allmlp-decode") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
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
        with ThreadPoolExecutor(1, thread_name_prefix="allmlp-ahead") as pool:
            pending = pool.submit(_next_of, items)
            while current := pending.result():
                pending = pool.submit(_next_of, items)
                yield current[0]
    finally:
        items.close()  # after the pending item: a running generator cannot be closed


def _next_of(items: Iterator[Item]) -> tuple[Item] | None:
    """Return the next item in a tuple; None at the end, because a thread cannot pass on a StopIteration."""
    for item in items:
        return (item,)
    return None
