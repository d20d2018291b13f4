"""Jobs of many processes: torchrun over gloo on this machine, and what each process of a job did.

torchrun is real, and so are its processes; but unless a job is `real`, they are forked from one that has imported what takes
seconds to import, torchrun's own process as well.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import psutil
from tests.forks import run_arguments, start_torchrun
from tests.reliability.faulty import DIARY, FAULTS
from tests.reliability.sessions import ROOT, Faults

TIMEOUT = 180.0  # seconds; a job takes a few
SHUTDOWN = 30.0  # seconds from torchrun's SIGTERM to its SIGKILL


@dataclass(frozen=True)
class Step:
    """A step as one process took it: the samples of the batch, those that it made itself, and the loss of all."""

    batch: str
    made: str
    loss: float


@dataclass(frozen=True)
class Process:
    """What one process of a job did.

    Attributes:
        pid: as the system knows it.
        code: its exit code; None when it was killed, or when it is not known.
        output: what it printed.
        begun: the steps that it began, in order, the first of a run being 1.
        steps: what it finished, by step.
    """

    pid: int
    code: int | None
    output: str
    begun: list[int]
    steps: dict[int, Step]


@dataclass(frozen=True)
class Ended:
    """A job that has ended.

    Attributes:
        codes: the exit code of each torchrun.
        output: what these printed.
        attempts: the processes by rank, of each attempt.
        signalled: when the last signal was that a process sent to itself; 0 without.
        ends: when each torchrun ended, as seen no later than now.
    """

    codes: list[int]
    output: str
    attempts: list[dict[int, Process]]
    signalled: float
    ends: list[float]

    @property
    def told(self) -> str:
        """What all processes printed, in no order."""
        return "".join(process.output for attempt in self.attempts for process in attempt.values())

    def left(self) -> list[int]:
        """Return the processes that are still there."""
        pids = [process.pid for attempt in self.attempts for process in attempt.values()]
        return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@dataclass(frozen=True)
class Job:
    """How many processes: on how many machines, as torchrun sees it, brought back how often, waiting how long."""

    processes: int
    nodes: int = 1
    restarts: int = 0
    timeout_s: float = 60.0
    real: bool = False

    def options(self, node: int, port: int) -> list[str]:
        """Return torchrun's options on machine `node`."""
        options = [f"--nproc-per-node={self.processes // self.nodes}", f"--max-restarts={self.restarts}"]
        options += ["--redirects=3"]
        if self.nodes == 1:
            return ["--standalone", *options]
        options += [f"--nnodes={self.nodes}", f"--node-rank={node}", "--rdzv-backend=c10d", "--local-addr=127.0.0.1"]
        conf = f"is_host={int(node == 0)},last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=3"
        options.append(f"--rdzv-conf={conf},join_timeout=60")
        return [*options, f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=job"]


@dataclass
class Running:
    """A job at work on one run folder."""

    run: Path
    job: Job
    command: Sequence[str]
    faults: Faults = ()
    cwd: Path = ROOT
    commands: Mapping[int, Sequence[str]] = field(default_factory=dict)  # of machines that are told something else
    folders: Mapping[int, Path] = field(default_factory=dict)  # of machines where torchrun is started elsewhere
    _agents: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run.parent.mkdir(parents=True, exist_ok=True)
        number = len(list(self.run.parent.glob(f"{self.run.name}-*.job")))
        self.folder = self.run.with_name(f"{self.run.name}-{number}.job")
        self.folder.mkdir()
        self.port = _free_port() if self.job.nodes > 1 else 0
        for node in range(self.job.nodes):
            self.start_node(node)

    def start_node(self, node: int) -> None:
        """Start torchrun on a machine, so to speak."""
        number = len(self._agents)
        logs, output = self.folder / f"logs-{number}", self.folder / f"torchrun-{number}.txt"
        options = [
            *self.job.options(node, self.port),
            f"--log-dir={logs}",
            "-m",
            "allmlp",
            *self.commands.get(node, self.command),
        ]
        variables = {
            FAULTS: json.dumps(list(self.faults)),
            DIARY: str(self.folder / "diary"),
            "ALLMLP_TIMEOUT_S": str(self.job.timeout_s),
            "OMP_NUM_THREADS": "1",
        }
        start = _start if self.job.real else partial(start_torchrun, _allmlp)
        place = (output, output, self.folders.get(node, self.cwd))
        self._agents.append(start(options, {**os.environ, **variables}, *place))

    @cached_property
    def _diary(self) -> Path:
        return self.folder / "diary"

    def kill_node(self, number: int) -> None:
        """Kill torchrun and its processes at once, as when a machine loses its power."""
        agent = psutil.Process(self._agents[number].pid)
        everyone = [agent, *agent.children(recursive=True)]
        for process in everyone:
            process.suspend()  # first, so that none sees another die
        for process in everyone:
            process.kill()

    def signal_torchrun(self, number: signal.Signals) -> None:
        """Send a signal to torchrun, as Slurm does."""
        os.kill(self._agents[0].pid, number)

    def wait_for(self, what: str, *, rank: int, attempt: int = 0) -> None:
        """Return when a process has written a line into its diary."""
        path, ends = Path(f"{self._diary}.{attempt}.{rank}"), time.monotonic() + TIMEOUT
        while not (path.exists() and any(line.startswith(what) for line in path.read_text().splitlines())):
            assert time.monotonic() < ends and any(agent.poll() is None for agent in self._agents), self.output()
            time.sleep(0.02)

    def output(self) -> str:
        """Return what torchrun has printed so far."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("torchrun-*.txt")))

    def ended(self) -> Ended:
        """Wait for the end and return what was."""
        codes = [agent.wait(TIMEOUT) for agent in self._agents]
        ends = [path.stat().st_mtime for path in self.folder.glob("torchrun-*.txt")] if any(codes) else [time.time()]
        diaries = {tuple(path.name.split(".")[1:]): path.read_text() for path in self.folder.glob("diary.*.*")}
        attempts: list[dict[int, Process]] = []
        for attempt in range(1 + max((int(attempt) for attempt, _ in diaries), default=-1)):
            ranks = sorted(int(rank) for number, rank in diaries if number == str(attempt))
            attempts.append({rank: self._process(attempt, rank, diaries[str(attempt), str(rank)]) for rank in ranks})
        signals = [float(when) for text in diaries.values() for when in re.findall(r"^SIG\w+ ([\d.]+)$", text, re.M)]
        return Ended(codes, self.output(), attempts, max([0.0, *signals]), ends)

    def _process(self, attempt: int, rank: int, diary: str) -> Process:
        lines = [line.split() for line in diary.splitlines()]
        losses = {int(line[1]): float.fromhex(line[2]) for line in lines if line[0] == "loss"}
        made = {int(line[1]): line[2:] for line in lines if line[0] == "batch"}
        local = rank % (self.job.processes // self.job.nodes)
        node = rank // (self.job.processes // self.job.nodes)
        files = sorted(self.folder.glob(f"logs-{node}/*/attempt_{attempt}/{local}/std*.log"))
        return Process(
            pid=next(int(line[1]) for line in lines if line[0] == "pid"),
            code=next((int(line[1]) for line in lines if line[0] == "exit"), None),
            output="".join(path.read_text() for path in files),
            begun=[int(line[1]) for line in lines if line[0] == "step"],
            steps={step: Step(*made[step], loss=loss) for step, loss in losses.items()},  # type: ignore[call-arg]
        )


def carried_out(run: Path, job: Job, command: Sequence[str], faults: Faults = (), *, cwd: Path = ROOT) -> Ended:
    """Carry out a command of allmlp in the processes of a job."""
    return Running(run, job, command, faults, cwd).ended()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _start(options: Sequence[str], environment: Mapping[str, str], output: Path, _: Path, cwd: Path) -> Any:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    with output.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *options],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONPATH": path},
            cwd=cwd,
            start_new_session=True,
        )


def _allmlp(arguments: list[str]) -> None:
    """A process that trains, and writes down how it ends."""
    from tests.reliability.faulty import write_down

    try:
        run_arguments(arguments)
    except SystemExit as end:
        write_down(f"exit {end.code}")
        raise
    except BaseException:
        write_down("exit 1")
        raise
