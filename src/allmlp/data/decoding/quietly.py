"""Silence while Pillow reads a header: its warnings do not name the photo."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

__all__ = ["quietly"]

_TURN = threading.Lock()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Ignore Python's warnings. Their filters belong to the process, so only one thread at a time is inside the block."""
    with _TURN, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
