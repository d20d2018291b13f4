"""The process group that trains one model: rank, device and collective operations.

torchrun starts the processes and describes them in the environment. Without it there is one process and no communication.
"""

import contextlib
import hashlib
import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from allmlp.errors import AllmlpError, ConfigError, ReportedError
from allmlp.training.distributed.failure_notices import FailureNotices

__all__ = ["ONE_PROCESS", "ProcessGroup", "is_first_to_report", "join_ranks", "timeout_seconds"]

# A process that neither responds nor exits (stopped, or on a machine that went down) ends the job after this time. A step, a
# validation batch and reading all photos must each take less.
_DEFAULT_TIMEOUT_S = 600.0
_RENDEZVOUS_S = 40.0  # enough, since torchrun's store exists before its processes

_GROUPS = itertools.count()


@dataclass(frozen=True)
class ProcessGroup:
    """The position of this process in the group that trains together.

    Attributes:
        rank: from 0 to count - 1.
        count: the number of processes.
        device: the device of this process, such as "cuda:1" for the second GPU of a machine.
        notices: the notices of failed processes; None with one process.
    """

    rank: int
    count: int
    device: str
    notices: FailureNotices | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes the run's files and reports for all."""
        return self.rank == 0

    def part(self, size: int) -> slice:
        """Return this process's part of `size` samples, a multiple of the number of processes."""
        share = size // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, values: list[float]) -> NDArray[np.float64]:
        """Return the values of all processes: (count, n)."""
        if self.count == 1:
            return np.array([values])
        local_values = torch.tensor(values, dtype=torch.float64, device=self._collective_device())
        gathered = [torch.empty_like(local_values) for _ in range(self.count)]
        dist.all_gather(gathered, local_values)
        result: NDArray[np.float64] = torch.stack(gathered).cpu().numpy()
        return result

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Return the rows (n, ...) of all processes concatenated in rank order; n must be the same on all."""
        if self.count == 1:
            return rows
        gathered = [torch.empty_like(rows) for _ in range(self.count)]
        dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    def broadcast(self, value: Any) -> Any:
        """Return the first process's `value`, made of plain Python objects and CPU tensors, on every process."""
        if self.count == 1:
            return value
        values = [value if self.is_first else None]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    @contextlib.contextmanager
    def raise_on_all(self) -> Iterator[None]:
        """Run a block on all processes; an `AllmlpError` on any of them is raised on all, with a single message.

        Raises:
            AllmlpError: with one process, the error that the block raised.
            ReportedError: with several, on all of them: the error of the lowest rank that raised one.
        """
        error: AllmlpError | None = None
        try:
            yield
        except AllmlpError as caught:
            error = caught
        if self.count == 1:
            if error is not None:
                raise error
            return
        outcomes: list[Any] = [None] * self.count
        dist.all_gather_object(outcomes, None if error is None else (type(error), str(error)))
        failed = next((rank for rank, outcome in enumerate(outcomes) if outcome is not None), None)
        if failed is not None:
            kind, text = outcomes[failed]
            is_same_on_all = all(outcome == outcomes[failed] for outcome in outcomes)
            cause: AllmlpError = kind(text if is_same_on_all else f"process {failed} of {self.count}: {text}")
            raise ReportedError(cause, is_speaker=self.is_first, is_shared=True) from error

    def explain(self, error: BaseException) -> BaseException:
        """Return the error that ends this process, given what it raised: the failure of another one if that came first."""
        return error if self.notices is None else self.notices.explain(error)

    def _collective_device(self) -> str:
        return self.device if self.device.startswith("cuda") else "cpu"


ONE_PROCESS = ProcessGroup(0, 1, "cpu")


@contextlib.contextmanager
def join_ranks(device: str) -> Iterator[ProcessGroup]:
    """Connect the processes that torchrun started and yield their group; without torchrun, a group of one process.

    `device` is "cpu", "cuda" or "mps". The environment variable ALLMLP_TIMEOUT_S sets how many seconds a process waits for
    another one.

    Raises:
        ConfigError: the environment is inconsistent, this machine has fewer GPUs than processes, or the processes cannot
            connect.
        ReportedError: another process was killed or hangs (its cause is a `ProcessLostError`), or failed and left a notice.
    """
    count, rank = _number("WORLD_SIZE", 1), _number("RANK", 0)
    local_rank = _number("LOCAL_RANK", 0)
    if not 0 <= rank < count:
        raise ConfigError(
            f"RANK is {rank} and WORLD_SIZE is {count}; expected a rank from 0 to {count - 1}. Start with torchrun."
        )
    if count == 1:
        yield ProcessGroup(0, 1, device)
        return
    device = _device_of_process(device, local_rank)
    store = _connect_all(device, rank=rank, count=count)
    notices = FailureNotices(store, rank=rank, count=count)
    try:
        yield ProcessGroup(rank, count, device, notices)
    except BaseException as error:
        cause = notices.explain(error)
        dist.destroy_process_group()  # processes that wait for this one notice now
        notices.wait_for_speaker(cause)
        if cause is not error:
            raise cause from error
        raise
    dist.destroy_process_group()


def _device_of_process(device: str, local_rank: int) -> str:
    """Return the device of this process, one GPU per process of a machine. Raises ConfigError."""
    if device == "mps":
        raise ConfigError("--device mps supports only one process. Start without torchrun.")
    if device != "cuda":
        return device
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"LOCAL_RANK is {local_rank}, but this machine has {torch.cuda.device_count()} GPUs. Start one process per "
            "GPU: torchrun --nproc-per-node gpu ..."
        )
    torch.cuda.set_device(local_rank)
    return f"cuda:{local_rank}"


def _connect_all(device: str, *, rank: int, count: int) -> dist.Store:  # type: ignore[name-defined]
    """Connect the processes, by NCCL on GPUs and gloo elsewhere, and return their store. Raises ConfigError."""
    timeout = timedelta(seconds=timeout_seconds())
    backend = "nccl" if device.startswith("cuda") else "gloo"
    try:
        store = _store(timeout)
        # A second training run in these processes must not find the addresses of the first.
        addresses = dist.PrefixStore(f"group/{next(_GROUPS)}", store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=addresses, rank=rank, world_size=count, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        raise ConfigError(
            f"process {rank} of {count} could not connect to the others at {address}: {error}. Start all processes at the "
            "same time, with a port that no other program uses (torchrun --standalone finds one)."
        ) from error
    return store


def is_first_to_report(text: str) -> bool:
    """Return whether this is the first process of a torchrun job to ask about this text.

    True if that is unknown: without torchrun, or if its store is gone.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()  # it may name files that are not UTF-8
    try:
        count: int = _store(timedelta(seconds=5)).add(f"reported/{digest}", 1)
    except (RuntimeError, AllmlpError):
        return True
    return count == 1


def _store(timeout: timedelta) -> dist.Store:  # type: ignore[name-defined]
    """Return the store through which the processes exchange their addresses.

    After a restart by torchrun, the addresses of the previous attempt are still in the store, and a process that finds one
    waits for a dead process (observed with torch 2.14, gloo). So each attempt has its own key prefix.
    """
    address, port = os.environ.get("MASTER_ADDR", ""), _number("MASTER_PORT", 0)
    if not address or not port:
        raise ConfigError("MASTER_ADDR or MASTER_PORT is missing from the environment. Start with torchrun.")
    is_host = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and _number("RANK", 0) == 0
    store = _connected(address, port, is_host=is_host, timeout=min(timeout, timedelta(seconds=_RENDEZVOUS_S)))
    store.set_timeout(timeout)
    prefix = f"allmlp/{_number('TORCHELASTIC_RESTART_COUNT', 0)}"
    return dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]


def _connected(address: str, port: int, *, is_host: bool, timeout: timedelta) -> dist.Store:  # type: ignore[name-defined]
    """Connect in a thread, since torch waits forever if another program listens at the address but sends nothing."""
    results: list[Any] = []

    def connect() -> None:
        try:
            results.append(dist.TCPStore(address, port, is_master=is_host, timeout=timeout))  # type: ignore[attr-defined]
        except (RuntimeError, ValueError) as error:
            results.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout.total_seconds() + 5.0)  # leaves torch the time to raise its own, better message
    store = results[0] if results else RuntimeError("the program that listens there does not respond")
    if isinstance(store, Exception):
        raise store
    return store


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(f"the environment variable {name} is {text!r}; expected a whole number, as torchrun sets it.")
    return int(text)


def timeout_seconds() -> float:
    text = os.environ.get("ALLMLP_TIMEOUT_S", str(_DEFAULT_TIMEOUT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 1e6:
        raise ConfigError(f"ALLMLP_TIMEOUT_S is {text!r}; expected a number of seconds over 0, such as 600.")
    return seconds
