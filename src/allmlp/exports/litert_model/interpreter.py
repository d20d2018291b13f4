"""A graph in LiteRT that is ready to run, without the lines that the library prints."""

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LitertInterpreter"]

_STANDARD_ERROR = 2
_standard_error_lock = threading.Lock()


class LitertInterpreter:
    """A graph for batches of one size, and some of its outputs. Threads may share it: they take turns."""

    def __init__(self, content: bytes, shape: tuple[int, ...], outputs: Sequence[str], *, num_threads: int) -> None:
        runtime = importlib.import_module("ai_edge_litert.interpreter")
        with _silenced():
            self._interpreter: Any = runtime.Interpreter(model_content=content, num_threads=num_threads)
            (images,) = self._interpreter.get_input_details()
            self._images: int = images["index"]
            self._interpreter.resize_tensor_input(self._images, shape, strict=True)
            self._interpreter.allocate_tensors()
        names = {details["name"]: details["index"] for details in self._interpreter.get_output_details()}
        self._outputs: list[int] = [names[output] for output in outputs]
        self._lock = threading.Lock()

    def run(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for images of the shape of this interpreter."""
        with self._lock:
            self._interpreter.set_tensor(self._images, images)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(output) for output in self._outputs]


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep what LiteRT prints when it starts, whatever its settings, from standard error."""
    with _standard_error_lock:
        try:
            kept = os.dup(_STANDARD_ERROR)
        except OSError:  # closed
            yield
            return
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, _STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(kept, _STANDARD_ERROR)
            os.close(kept)
            os.close(nothing)
