"""Ordered maps over threads, a bounded number of items ahead."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ordered_map", "prefetch"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items (decoded photos) ahead per thread: enough to ride over a slow one, few enough to stay in hundreds of megabytes.
_AHEAD = 32


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], num_workers: int) -> Iterator[Result]:
    """Map in `num_workers` threads (0: in the calling one), results in order, a bounded number of items ahead."""
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
    """Yield `items`, of which a thread makes the next one while the caller works on the last.

    What making one raises is raised here. Closed early, it waits for the one in the making and closes `items`. Whoever stops
    early has to close it: left to the garbage collector, it may be closed while this very thread holds the lock of all pools
    that the one in the making waits for.
    """
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="allmlp-ahead") as pool:
            made = pool.submit(_next_of, items)
            while found := made.result():
                made = pool.submit(_next_of, items)
                yield found[0]
    finally:
        items.close()  # after the one in the making: a generator that runs cannot be closed


def _next_of(items: Iterator[Item]) -> tuple[Item] | None:
    """Return the next item, in a tuple; None at the end, as a StopIteration cannot come out of a thread."""
    for item in items:
        return (item,)
    return None
