"""Python programs, commands of allmlp and torchrun in new processes that start in milliseconds.

They are forked from one process that has imported what takes seconds to import. Otherwise they are like those that
`python -c`, `python -m allmlp` and `torchrun` start: with their own arguments, environment, folder and output.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TIMEOUT = 120.0  # seconds

Program = Callable[[list[str]], None]
"""What a process does, given the arguments behind `python`. It has to be at the top level of a module."""

Output = Path | Connection
"""What is printed is appended to a file, or sent through a pipe."""


class ForkedProcess:
    """A process of multiprocessing with those methods of `subprocess.Popen` that torchrun and our tests call."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative when a signal killed it, and None while it runs."""
        return self._process.exitcode  # type: ignore[no-any-return]

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return code


def run_python(program: str, *arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `python -c program arguments`; options: `cwd`, `timeout`, and variables of the environment."""
    return _run(partial(start, run_arguments), ["-c", program, *map(str, arguments)], **options)


def run_allmlp(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `python -m allmlp arguments`; options as of `run_python`."""
    return _run(partial(start, run_arguments), ["-m", "allmlp", *map(str, arguments)], **options)


def run_torchrun(
    count: int, *arguments: object, restarts: int = 0, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a script, or `-m` and a module, in `count` processes on one thread each; options as of `run_python`."""
    command = ["--standalone", f"--nproc-per-node={count}", f"--max-restarts={restarts}", *map(str, arguments)]
    return _run(partial(start_torchrun, run_arguments), command, OMP_NUM_THREADS="1", **options)


def start(
    program: Program,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: Output,
    errors: Output,
    cwd: Path,
) -> ForkedProcess:
    """Start a process; `environment` is all of it, and what is printed goes to `output` and `errors`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded"])
    with contextlib.chdir(ROOT):  # it looks for modules there, and is started once, whatever folder a test is in
        forkserver.ensure_running()
    options = (program, list(arguments), dict(environment), output, errors, str(cwd))
    process = context.Process(target=_in_fork, args=options)
    process.start()
    return ForkedProcess(process)


def start_torchrun(program: Program, options: Sequence[str], *process: Any) -> ForkedProcess:
    """Start torchrun, whose processes are forks of its own that call `program`; the rest is as of `start`."""
    return start(partial(_torchrun, program), options, *process)


def run_arguments(arguments: list[str]) -> None:
    """Do what `python arguments` does: `-c` and a program, `-m` and a module, or a script."""
    if arguments[0] == "-u":  # as torchrun starts them
        arguments = arguments[1:]
    kind, *rest = arguments
    sys.path.insert(0, str(Path.cwd()))
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


def _run(
    begin: Callable[..., ForkedProcess],
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    timeout: float = TIMEOUT,
    **variables: str,
) -> "subprocess.CompletedProcess[str]":
    # Pipes, not files: a process may be one that is forbidden to write files.
    (output, its_output), (errors, its_errors) = (multiprocessing.Pipe(duplex=False) for _ in range(2))
    process = begin(arguments, {**os.environ, **variables}, its_output, its_errors, cwd or Path.cwd())
    its_output.close()
    its_errors.close()
    with ThreadPoolExecutor(2) as pool:
        texts = [pool.submit(_read_all, stream) for stream in (output, errors)]
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            raise AssertionError(f"{arguments} still ran after {timeout} s") from None
        return subprocess.CompletedProcess(list(arguments), code, *(text.result() for text in texts))


def _read_all(stream: Connection) -> str:
    with os.fdopen(os.dup(stream.fileno()), "rb") as file:
        return file.read().decode()


def _in_fork(
    program: Program, arguments: list[str], environment: dict[str, str], output: Output, errors: Output, cwd: str
) -> None:
    """The forked process."""
    for number, sink in ((1, output), (2, errors)):
        if isinstance(sink, Path):
            os.dup2(os.open(sink, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        else:
            os.dup2(sink.fileno(), number)
            sink.close()
    os.environ.clear()
    _set_up(environment)
    os.chdir(cwd)
    program(arguments)


def _torchrun(program: Program, options: list[str]) -> None:
    """The process of torchrun."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

    def popen(self: Any, arguments: tuple[str, ...], environment: dict[str, str]) -> ForkedProcess:
        logs = [stream.fileno() if stream else number for number, stream in ((1, self._stdout), (2, self._stderr))]
        target = partial(_process_of_torchrun, program, list(arguments[1:]), environment, logs)
        process = multiprocessing.get_context("fork").Process(target=target)
        process.start()
        os.setpgid(process.pid, process.pid)  # type: ignore[arg-type]  # torchrun signals the group of each
        return ForkedProcess(process)

    SubprocessHandler._popen = popen  # type: ignore[method-assign,assignment]
    run.main(options)


def _process_of_torchrun(program: Program, arguments: list[str], environment: dict[str, str], logs: list[int]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for stream, log in enumerate(logs, start=1):
        os.dup2(log, stream)
    _set_up(environment)
    program(arguments)


def _set_up(environment: Mapping[str, str]) -> None:
    import torch

    # As the interpreter makes them at its start: those of before the fork remember what 1 and 2 were.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace", buffering=1)
    os.environ.update(environment)
    if threads := environment.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))  # the library read the variable when it was imported, before the fork
