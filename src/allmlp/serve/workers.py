"""`supervise`: several processes that answer at one socket with one model; one that dies is replaced.

They are forked from a server process that has loaded the libraries, so that a new one is ready once it has
read the model. The first one to open a model decides which model this is: one that has opened another model, because the file
was replaced, never answers.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

from allmlp.errors import AllmlpError, CheckpointError
from allmlp.hardware.num_compute_threads import asked_threads, num_compute_threads
from allmlp.io.display import Report
from allmlp.serve.instruments import SHARED_FOLDER
from allmlp.serve.models import MODEL_CHANGED

__all__ = ["Job", "supervise"]

_MAX_FAILED_STARTS = 5
_PAUSE_S = 1.0  # before a worker that never became ready is replaced


class Job(Protocol):
    """What a worker does until a signal.

    It calls `admit` with the identity of the model that it has opened, before it answers; and `when_ready` with a remark for
    people, or "", once it answers.
    """

    def __call__(
        self, listener: socket.socket, when_ready: Callable[[str], None], admit: Callable[[str], None]
    ) -> None: ...


class _Opened(NamedTuple):
    """A worker's message: the identity of the model that it has opened."""

    model: str


class _Worker:
    """A process, and the pipe by which it says which model it has opened, that it is ready, or why it cannot start."""

    def __init__(self, context: Any, job: Job, listener: socket.socket) -> None:
        self.pipe, far_end = context.Pipe()
        self.process: BaseProcess = context.Process(target=_run, args=(job, listener, far_end), name="allmlp worker")
        self.process.start()
        far_end.close()
        self.is_admitted = self.is_ready = False
        self.remark = ""

    def hear(self, model: str) -> str:
        """Receive the worker's messages, and let it answer if it has opened this model, or any if that is "".

        Returns the model. Raises the error for which it cannot start or may not answer.
        """
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                message = self.pipe.recv()
                if isinstance(message, AllmlpError):
                    raise message
                if not isinstance(message, _Opened):
                    self.is_ready, self.remark = True, message
                    continue
                if message.model != (model or message.model):
                    raise CheckpointError(MODEL_CHANGED)
                model, self.is_admitted = message.model, True
                self.pipe.send(True)
        return model


def supervise(
    job: Job,
    listener: socket.socket,
    *,
    number: int,
    engine: str,
    grace_s: float,
    when_ready: Callable[[str], None],
    report: Report,
) -> None:
    """Keep `number` workers running until SIGTERM or SIGINT, and end when all have answered what they accepted.

    `engine` is the module that they load first; `grace_s` is how long they have to end before they are killed. The cores are
    divided among them, unless the user set OMP_NUM_THREADS. A worker that cannot start while others answer is reported, and
    not replaced.

    Raises:
        AllmlpError: none of them can start.
    """
    if asked_threads() is None:
        os.environ["OMP_NUM_THREADS"] = str(max(1, num_compute_threads() // number))
    has_forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if has_forks else "spawn")
    if has_forks:
        context.set_forkserver_preload(["allmlp.serve.server", engine])
    with _shared_folder(), _stop_signals() as stopped:
        if has_forks:
            _start_fork_server()  # with the shared folder in its environment
        workers: list[_Worker] = []
        try:
            workers += [_Worker(context, job, listener) for _ in range(number)]
            _watch(workers, lambda: _Worker(context, job, listener), stopped, when_ready, report)
        finally:
            listener.close()
            _stop(workers, grace_s)


def _start_fork_server() -> None:
    """Start the process that forks workers, so that it and they ignore SIGINT until they answer: a terminal sends it to all."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def _watch(
    workers: list[_Worker],
    new: Callable[[], _Worker],
    stopped: threading.Event,
    when_ready: Callable[[str], None],
    report: Report,
) -> None:
    has_told = False
    number, num_failed = len(workers), 0
    model = ""
    while not stopped.is_set():
        sentinels = [worker.process.sentinel for worker in workers]
        wait([*sentinels, *(worker.pipe for worker in workers if not worker.is_ready)], timeout=0.2)
        for worker in tuple(workers):
            try:
                model = worker.hear(model)
            except AllmlpError as error:
                workers.remove(worker)
                worker.process.terminate()
                _forget(worker)
                if not any(other.is_admitted for other in workers):
                    raise
                report(f"Worker {worker.process.pid} is not used; {len(workers)} of {number} go on. {error}")
                continue
            if worker.process.is_alive() or stopped.is_set():
                continue
            _forget(worker)
            pid, code = worker.process.pid, worker.process.exitcode
            num_failed = 0 if worker.is_ready else num_failed + 1
            if num_failed > _MAX_FAILED_STARTS:
                raise AllmlpError(f"The workers end before they are ready (exit code {code}).")
            if not worker.is_ready:
                stopped.wait(_PAUSE_S)
            report(f"Worker {pid} ended ({code}); a new one starts.")
            workers[workers.index(worker)] = new()
        if not has_told and all(worker.is_ready for worker in workers):
            has_told = True
            when_ready(workers[0].remark)


def _stop(workers: list[_Worker], grace_s: float) -> None:
    for worker in workers:
        with contextlib.suppress(OSError):
            worker.process.terminate()
    end = time.monotonic() + grace_s
    for worker in workers:
        worker.process.join(max(0.0, end - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


def _forget(worker: _Worker) -> None:
    """Leave the gauges of a worker that died out of the sums."""
    from prometheus_client.multiprocess import mark_process_dead

    worker.process.join()
    worker.pipe.close()
    mark_process_dead(worker.process.pid)  # type: ignore[no-untyped-call]


def _run(job: Job, listener: socket.socket, pipe: Connection) -> None:
    """Be a worker."""
    admitted = threading.Event()
    threading.Thread(target=_hear_parent, args=(pipe, admitted), daemon=True).start()

    def admit(model: str) -> None:
        pipe.send(_Opened(model))
        admitted.wait()

    try:
        job(listener, pipe.send, admit)
    except AllmlpError as error:
        pipe.send(error)


def _hear_parent(pipe: Connection, admitted: threading.Event) -> None:
    """Wait for leave to answer, and end with the parent."""
    with contextlib.suppress(EOFError, OSError):
        while pipe.recv():
            admitted.set()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _shared_folder() -> Iterator[None]:
    """Make a folder in which the workers' counts are added up, and delete it at the end."""
    folder = tempfile.mkdtemp(prefix="allmlp-serve-")
    os.environ[SHARED_FOLDER] = folder
    try:
        yield
    finally:
        del os.environ[SHARED_FOLDER]
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    stopped = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
