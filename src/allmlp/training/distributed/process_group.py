"""Several processes that train one model: which one this is, and what they exchange.

torchrun starts them and describes them in the environment. Without it there is one process, and nothing is sent.
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

__all__ = ["ONE_PROCESS", "ProcessGroup", "is_first_to_say", "join_ranks"]

# A process that neither computes nor ends (stopped, a machine gone) ends the job after so long. A step, a validation batch or
# the reading of all photos must take less.
_DEFAULT_TIMEOUT_S = 600.0
_MEETING_S = 40.0  # torchrun's store is there before its processes are

_GROUPS = itertools.count()


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together.

    Attributes:
        rank: from 0 to count - 1.
        count: of processes.
        device: that this process computes on, "cuda:1" for the second GPU of a machine.
        notices: what processes that fail leave for the others; None for one process.
    """

    rank: int
    count: int
    device: str
    notices: FailureNotices | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process alone writes the run's files and speaks for all."""
        return self.rank == 0

    def part(self, size: int) -> slice:
        """Return this process's share of `size` samples, which the count divides."""
        share = size // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, values: list[float]) -> NDArray[np.float64]:
        """Return the values of all processes: (count, n)."""
        if self.count == 1:
            return np.array([values])
        mine = torch.tensor(values, dtype=torch.float64, device=self._sending_device())
        everyones = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(everyones, mine)
        gathered: NDArray[np.float64] = torch.stack(everyones).cpu().numpy()
        return gathered

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Return the rows (n, ...) of all processes, each of which gives as many, one below the other."""
        if self.count == 1:
            return rows
        everyones = [torch.empty_like(rows) for _ in range(self.count)]
        dist.all_gather(everyones, rows.contiguous())
        return torch.cat(everyones)

    def share(self, value: Any) -> Any:
        """Return the first process's `value`, made of plain Python objects and tensors on the processor, on every process."""
        if self.count == 1:
            return value
        values = [value if self.is_first else None]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    @contextlib.contextmanager
    def raise_on_all(self) -> Iterator[None]:
        """Run a block on all processes; what ends one ends all, with one message.

        Raises:
            AllmlpError: with one process, what the block raised.
            ReportedError: with several, on all of them: the error of the first process that raised one.
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
            alike = all(outcome == outcomes[failed] for outcome in outcomes)
            cause: AllmlpError = kind(text if alike else f"process {failed} of {self.count}: {text}")
            raise ReportedError(cause, is_speaker=self.is_first, is_shared=True) from error

    def explain(self, error: BaseException) -> BaseException:
        """Return what ends this process, given what was raised: the failure of another one, where that came first."""
        return error if self.notices is None else self.notices.explain(error)

    def _sending_device(self) -> str:
        return self.device if self.device.startswith("cuda") else "cpu"


ONE_PROCESS = ProcessGroup(0, 1, "cpu")


@contextlib.contextmanager
def join_ranks(device: str) -> Iterator[ProcessGroup]:
    """Give this process's place among those that torchrun started, connected; the only one without torchrun.

    `device` is "cpu", "cuda" or "mps". ALLMLP_TIMEOUT_S is how long a process waits for another one, in seconds.

    Raises:
        ConfigError: an environment that contradicts itself, or a GPU less than processes on this machine.
        ReportedError: another process was killed or hangs (its cause is a `ProcessLostError`), or failed and left a notice.
    """
    count, rank = _number("WORLD_SIZE", 1), _number("RANK", 0)
    local_rank = _number("LOCAL_RANK", 0)
    if not 0 <= rank < count:
        raise ConfigError(
            f"RANK is {rank} and WORLD_SIZE {count}; expected a rank from 0 to {count - 1}. Start with torchrun."
        )
    if count == 1:
        yield ProcessGroup(0, 1, device)
        return
    if device == "mps":
        raise ConfigError("--device mps trains with one process; leave torchrun out.")
    if device == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"LOCAL_RANK is {local_rank}, but this machine has {torch.cuda.device_count()} GPUs. Start one process a GPU: "
                "torchrun --nproc-per-node gpu ..."
            )
        device = f"cuda:{local_rank}"
        torch.cuda.set_device(local_rank)
    timeout = timedelta(seconds=_timeout_s())
    backend = "nccl" if device.startswith("cuda") else "gloo"
    try:
        store = _store(timeout)
        # The second training of these processes must not find the addresses of the first.
        addresses = dist.PrefixStore(f"group/{next(_GROUPS)}", store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=addresses, rank=rank, world_size=count, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        raise ConfigError(
            f"process {rank} of {count} could not meet the others at {address}: {error}. Start all of them at once, and with "
            "a port that no other program uses (torchrun --standalone finds one)."
        ) from error
    notices = FailureNotices(store, rank=rank, count=count)
    try:
        yield ProcessGroup(rank, count, device, notices)
    except BaseException as error:
        cause = notices.explain(error)
        dist.destroy_process_group()  # whoever waits for this process sees it now
        notices.let_speak(cause)
        if cause is not error:
            raise cause from error
        raise
    dist.destroy_process_group()


def is_first_to_say(text: str) -> bool:
    """Say whether no other process that torchrun started with this one has asked about the same text before.

    True where they cannot tell: without torchrun, or when its store is gone.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    try:
        count: int = _store(timedelta(seconds=5)).add(f"said/{hashlib.sha256(text.encode()).hexdigest()}", 1)
    except (RuntimeError, AllmlpError):
        return True
    return count == 1


def _store(timeout: timedelta) -> dist.Store:  # type: ignore[name-defined]
    """Return the place where processes leave their addresses for each other.

    After a restart by torchrun the addresses of the processes before are still there, and who finds one of them waits for the
    dead (seen with torch 2.14, gloo): every attempt has names of its own.
    """
    address, port = os.environ.get("MASTER_ADDR", ""), _number("MASTER_PORT", 0)
    if not address or not port:
        raise ConfigError("MASTER_ADDR and MASTER_PORT are missing in the environment. Start with torchrun.")
    is_host = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and _number("RANK", 0) == 0
    store = _connected(address, port, is_host=is_host, timeout=min(timeout, timedelta(seconds=_MEETING_S)))
    store.set_timeout(timeout)
    prefix = f"allmlp/{_number('TORCHELASTIC_RESTART_COUNT', 0)}"
    return dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]


def _connected(address: str, port: int, *, is_host: bool, timeout: timedelta) -> dist.Store:  # type: ignore[name-defined]
    """Connect from a thread: torch waits for ever for the first word of another program that listens there and says nothing."""
    found: list[Any] = []

    def connect() -> None:
        try:
            found.append(dist.TCPStore(address, port, is_master=is_host, timeout=timeout))  # type: ignore[attr-defined]
        except (RuntimeError, ValueError) as error:
            found.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout.total_seconds() + 5.0)  # torch's own message is better, where it comes
    store = found[0] if found else RuntimeError("whoever listens there gives no answer")
    if isinstance(store, Exception):
        raise store
    return store


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ConfigError(f"{name} is {text!r} in the environment; expected a whole number, as torchrun sets it.")
    return int(text)


def _timeout_s() -> float:
    text = os.environ.get("ALLMLP_TIMEOUT_S", str(_DEFAULT_TIMEOUT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 1e6:
        raise ConfigError(f"ALLMLP_TIMEOUT_S is {text!r}; expected seconds over 0, such as 600.")
    return seconds
