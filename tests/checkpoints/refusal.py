"""A hostile file's proper end: one CheckpointError, at once, within bounded memory, and nothing executed."""

import contextlib
import gc
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from allmlp import CheckpointError

MAX_SECONDS = 1.0
MIB = 1 << 20


class PeakMemory:
    """The most memory that this process held since `start`, above what it held then. Zero where Linux is not."""

    def __init__(self) -> None:
        self.start = 0
        with contextlib.suppress(OSError, ValueError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
            self.start = _status("VmHWM")

    def above_start(self) -> int:
        return _status("VmHWM") - self.start if self.start else 0


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


@contextlib.contextmanager
def refused(path: Path | str, *words: str) -> Iterator[pytest.ExceptionInfo[CheckpointError]]:
    """Expect one CheckpointError that names `path` and all `words`: within a second of work and 2 × the file + 64 MiB."""

    def stop(*_: object) -> None:
        raise AssertionError("it hangs")

    num_bytes = 0
    with contextlib.suppress(OSError, ValueError):
        num_bytes = Path(path).stat().st_size
    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    gc.freeze()  # the objects of all tests before, which every collection would look through
    memory, start = PeakMemory(), time.process_time()
    try:
        with pytest.raises(CheckpointError) as caught:
            yield caught
        seconds = time.process_time() - start
    finally:
        gc.unfreeze()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert seconds < MAX_SECONDS
    assert memory.above_start() < 2 * num_bytes + 64 * MIB
    for word in (str(path), *words):
        assert word in message, message[:2000]
    assert message.isprintable() or "\n" in message
    assert len(message) < 100_000
