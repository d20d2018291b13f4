"""Engines: which processes compute the parts of a plan. All of them run the same `Worker`, and may be stopped at any time."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from allmlp.bulk.part_files import part_path
from allmlp.bulk.result_folder import ResultFolder, read_results
from allmlp.bulk.worker import Worker, open_plan_model
from allmlp.errors import AllmlpError, MissingExtraError, ProcessLostError
from allmlp.exports import export_kind
from allmlp.hardware.num_compute_threads import asked_threads
from allmlp.hardware.num_decoding_threads import usable_cores
from allmlp.inference import RunnableModel
from allmlp.io.display import Progress, Report, escape

__all__ = ["ENGINES", "compute_parts", "use_own_gpu"]

ENGINES = ("local", "ray")
_SECONDS_BETWEEN_LOOKS = 0.5
_MAX_RETRIES = 10  # of a part whose Ray worker was killed


def compute_parts(
    results: ResultFolder,
    open_model: Callable[[], RunnableModel],
    *,
    source: str | None = None,
    engine: str = "local",
    processes: int | None = None,
    batch_size: int = 32,
    progress: Progress,
    report: Report,
) -> None:
    """Compute all parts that are not done. Returns when all are done.

    Args:
        results: the folder with the plan.
        open_model: opens the model in this process, if this process computes.
        source: where the model is now, for other processes; None: where it was when the plan was made.
        engine: "local", or "ray" for a Ray cluster: that of RAY_ADDRESS, or one on this machine.
        processes: how many compute at once; None: this one (local), or one per processor (ray).
        batch_size: photos per batch.
        progress: receives the number of photos done and the total.
        report: receives lines for the user.

    Raises:
        AllmlpError: that of the first process that failed; parts that are done stay.
    """
    parts = [part for part, state in enumerate(results.states()) if not state.is_done]
    if not parts:
        return
    done = results.plan.num_photos - sum(len(results.plan.rows_of(part)) for part in parts)
    progress(done, results.plan.num_photos)
    if engine == "ray":
        _compute_with_ray(results, parts, source, processes, batch_size, progress)
    elif processes is not None and processes > 1:
        _compute_in_processes(results, parts, source, processes, batch_size, progress)
    else:
        rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        worker = Worker(results, open_model, batch_size=batch_size, report=report)
        counter = _Counter(done, results.plan.num_photos, progress)
        worker.advance = counter.add
        worker.run(_from_own_share(parts, rank, count))


class _Counter:
    def __init__(self, done: int, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = done, total, progress

    def add(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)


def use_own_gpu(model: str, device: str) -> None:
    """Let each of the processes that torchrun started use a GPU of its own.

    This comes before the model is opened, whose weights stay on the GPU that is used then.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _use_gpu(model, device, int(os.environ.get("LOCAL_RANK", "0")))


def _use_gpu(model: str, device: str, number: int) -> None:
    if device == "cpu" or export_kind(model) not in (None, "torch"):
        return  # which needs no torch
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def _from_own_share(parts: Sequence[int], rank: int, count: int) -> list[int]:
    """Return all parts, those of this process's share first: where claims do not work, most parts are computed once still."""
    start = rank * len(parts) // count
    return [*parts[start:], *parts[:start]]


def _compute_in_processes(
    results: ResultFolder, parts: Sequence[int], source: str | None, count: int, batch_size: int, progress: Progress
) -> None:
    context = multiprocessing.get_context("spawn")
    children: dict[BaseProcess, Connection] = {}
    try:
        with _threads_of_children(max(1, usable_cores() // count)):
            for rank in range(min(count, len(parts))):
                ours, theirs = context.Pipe(duplex=False)
                shares = _from_own_share(parts, rank, count)
                child: BaseProcess = context.Process(
                    target=_child, args=(str(results.path), shares, source, rank, batch_size, theirs), daemon=True
                )
                child.start()
                theirs.close()
                children[child] = ours
        _follow(results, parts, children, progress)
    finally:
        for child in children:
            child.terminate()
            child.join()


def _follow(
    results: ResultFolder, parts: Sequence[int], children: dict[BaseProcess, Connection], progress: Progress
) -> None:
    """Wait for the processes. Raises the error of the first that fails; a killed one is replaced by those that are left."""
    missing = set(parts)
    running = dict(children)
    while running:
        ended = wait([child.sentinel for child in running], timeout=_SECONDS_BETWEEN_LOOKS)
        missing = {part for part in missing if not part_path(results.path, part).exists()}
        num_missing = sum(len(results.plan.rows_of(part)) for part in missing)
        progress(results.plan.num_photos - num_missing, results.plan.num_photos)
        for child in [child for child in running if child.sentinel in ended]:
            if (error := _error_from(running.pop(child))) is not None:
                raise error
    if not all(state.is_done for state in results.states()):
        codes = sorted({str(child.exitcode) for child in children})
        raise ProcessLostError(f"all processes were killed or failed (exit codes {', '.join(codes)}).")


def _error_from(connection: Connection) -> AllmlpError | None:
    with contextlib.suppress(EOFError):  # finished or killed
        if connection.poll():
            return _error_of(*connection.recv())
    return None


def _error_of(message: str, exit_code: int) -> AllmlpError:
    """Return an error of another process."""
    error = AllmlpError(message)
    error.exit_code = exit_code
    return error


@contextlib.contextmanager
def _threads_of_children(count: int | None) -> Iterator[None]:
    """Let processes that start inside the block compute with `count` threads, unless the user set their number.

    None leaves the number to what starts them.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    if asked_threads() is None:
        os.environ.pop("OMP_NUM_THREADS", None)
        os.environ.update({} if count is None else {"OMP_NUM_THREADS": str(count)})
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS", None)
        os.environ.update({} if before is None else {"OMP_NUM_THREADS": before})


def _child(
    folder: str, parts: list[int], source: str | None, rank: int, batch_size: int, connection: Connection
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        results = read_results(Path(folder))

        def open_model() -> RunnableModel:
            _use_gpu(results.plan.model, results.plan.model_options.device, rank)
            return open_plan_model(results, source)

        Worker(results, open_model, batch_size=batch_size).run(parts)
    except AllmlpError as error:
        connection.send((str(error), error.exit_code))


def _end_with_parent() -> None:
    """End this process when its parent has been killed: nobody would see what it does."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)


def _compute_with_ray(
    results: ResultFolder,
    parts: Sequence[int],
    source: str | None,
    processes: int | None,
    batch_size: int,
    progress: Progress,
) -> None:
    """Compute parts as Ray tasks, which Ray starts again if their worker is killed."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("--engine ray needs ray: pip install 'allmlp[ray]'") from error
    is_ours = not ray.is_initialized()
    if is_ours:
        os.environ.setdefault(
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
        )  # tasks without a GPU leave the variables alone
        with _threads_of_children(None):  # Ray gives a task as many threads as processors
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        cluster = ray.cluster_resources()
        resources: dict[str, Any] = {"num_cpus": 1 if processes is None else max(1, int(cluster["CPU"]) // processes)}
        if cluster.get("GPU") and results.plan.model_options.device != "cpu":
            resources["num_gpus"] = 1
        compute = ray.remote(max_retries=_MAX_RETRIES, **resources)(_compute_in_ray)
        total = results.plan.num_photos
        done = total - sum(len(results.plan.rows_of(part)) for part in parts)
        folder = str(results.path.absolute())
        waiting = list(reversed(parts))
        running: dict[Any, int] = {}
        while waiting or running:
            while waiting and len(running) < 4 * cluster["CPU"]:
                part = waiting.pop()
                running[compute.remote(folder, part, source, batch_size)] = part
            (ready, *_), _ = ray.wait(list(running), num_returns=1)
            done += len(results.plan.rows_of(running.pop(ready)))
            if (failure := ray.get(ready)) is not None:
                raise _error_of(*failure)
            progress(done, total)
    except ray.exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ProcessLostError(
            f"a worker of Ray failed: {escape(lines[-1] if lines else type(error).__name__)}."
        ) from error
    finally:
        if is_ours:
            ray.shutdown()


_workers: dict[str, Worker] = {}
"""Of this process, which may compute several parts of a plan with one model."""


def _compute_in_ray(folder: str, part: int, source: str | None, batch_size: int) -> tuple[str, int] | None:
    """Compute a part; return the message and the exit code of an error, which Ray would wrap into a traceback."""
    try:
        results = read_results(Path(folder))
        key = f"{folder} {results.plan.digest} {batch_size} {source}"
        if key not in _workers:
            _workers[key] = Worker(results, lambda: open_plan_model(results, source), batch_size=batch_size)
        _workers[key].run([part])
    except AllmlpError as error:
        return str(error), error.exit_code
    return None
