"""A cache that is bounded by the bytes of its values, shared by threads."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Keeps the most recently used values, of at most `limit` bytes in all, or a single larger one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.RLock()  # `make` may need another value

    def get(self, key: Hashable, num_bytes: int, make: Callable[[], Value]) -> Value:
        """Return the value of `key`; if it is not kept, `make` computes it, `num_bytes` long.

        Other values are dropped first, so that memory never holds more than the limit. Threads that need the same value wait
        until one of them has computed it.
        """
        with self._lock:
            if key not in self._kept:
                while self._kept and self._total + num_bytes > self._limit:
                    self._total -= self._kept.popitem(last=False)[1][1]
                self._kept[key] = make(), num_bytes
                self._total += num_bytes
            self._kept.move_to_end(key)
            return self._kept[key][0]
