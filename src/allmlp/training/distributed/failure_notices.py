"""What ends one of several processes ends all of them, with one message.

A process that fails leaves a notice before its connections close. The others find their connections broken, read the notice,
and end with the same error. Without a notice, a process was killed, or hangs.
"""

import contextlib
import json
import os
import time
from typing import Any

import torch.distributed as dist

from allmlp import errors
from allmlp.errors import AllmlpError, ProcessLostError, ReportedError
from allmlp.training.stop_signals import Stopped

__all__ = ["FailureNotices", "is_shared"]

# Seconds to wait for what another process is about to do, which may be dead: to arrive, and to leave its notice.
_COMING_S, _SPEAKING_S = 5.0, 10.0
_FAILED, _NOTICE, _SPOKEN = "failed", "notice", "spoken"


class FailureNotices:
    """What the processes of one attempt of torchrun leave for each other when they fail, in the store they met at."""

    def __init__(self, store: dist.Store, *, rank: int, count: int) -> None:  # type: ignore[name-defined]
        self._store = store
        self._rank = rank
        self._count = count
        self._ending: BaseException | None = None

    def explain(self, error: BaseException) -> BaseException:
        """Return what this process ends by, given what was raised in it: the first failure of all processes.

        What all raise at the same place is returned as it is. So is a failure of this process that no other one came before,
        but worded as of this process. Calling it again changes nothing.
        """
        if error is self._ending or is_shared(error):
            return error
        try:
            self._store.set(f"here/{self._rank}", b"1")
            if self._store.add(_FAILED, 1) == 1:
                self._ending = self._own(error)
                self._store.set(_NOTICE, json.dumps(self._notice(self._ending)))
            else:
                is_there = self._wait_for([_NOTICE], _SPEAKING_S)
                self._ending = _of_another(json.loads(self._store.get(_NOTICE))) if is_there else self._own(error)
        except (
            RuntimeError
        ):  # the store went with its machine: one process of each machine that is left reports the loss
            self._ending = self._own(error, reports_loss=os.environ.get("LOCAL_RANK", "0") == "0")
        return self._ending

    def let_speak(self, error: BaseException) -> None:
        """Return once the process that speaks for all is on its way out: torchrun ends the others at the first that goes."""
        is_speaker = self._rank == 0 if isinstance(error, Stopped) else True
        if isinstance(error, ReportedError):
            is_speaker = error.is_speaker
        with contextlib.suppress(RuntimeError):
            if is_speaker:
                self._store.set(_SPOKEN, b"1")
            else:
                self._wait_for([_SPOKEN], _COMING_S)

    def _wait_for(self, keys: list[str], seconds: float) -> bool:
        """Say whether the store has had all keys before the time is up. Its own way of waiting complains at the end."""
        ends = time.monotonic() + seconds
        while not self._store.check(keys):
            if time.monotonic() > ends:
                return False
            time.sleep(0.02)
        return True

    def _own(self, error: BaseException, *, reports_loss: bool = True) -> BaseException:
        me = f"process {self._rank} of {self._count}"
        if isinstance(error, RuntimeError) and _is_lost(error):
            lost = ProcessLostError(f"{me} {self._loss(str(error))}")
            return ReportedError(lost, is_speaker=reports_loss)
        if isinstance(error, AllmlpError):
            return ReportedError(type(error)(f"{me}: {error}"), is_speaker=True)
        return error

    def _loss(self, reason: str) -> str:
        advice = (
            "Nothing is wrong with what was saved: start the same command with --resume again and it continues "
            "(torchrun --max-restarts 3 does so by itself)."
        )
        if not ("Timed out" in reason or "timeout" in reason):
            return (
                f"lost the connection to another one, which was killed, ran out of memory, or whose machine has gone; "
                f"torchrun's report below names it. {advice}"
            )
        return (
            f"waited as long as ALLMLP_TIMEOUT_S allows for {self._missing()}: stopped, or busy for longer than that. {advice} "
            "Where a step or a batch of validation takes longer, set ALLMLP_TIMEOUT_S higher (seconds)."
        )

    def _missing(self) -> str:
        """Return who has not come here: those who wait for the same process give up at about the same time."""
        others = [rank for rank in range(self._count) if rank != self._rank]
        self._wait_for([f"here/{rank}" for rank in others], _COMING_S)
        missing = [str(rank) for rank in others if not self._store.check([f"here/{rank}"])]
        return f"process {', '.join(missing)}, which gives no answer" if missing else "another one, which has come now"

    def _notice(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, Stopped):
            return {"kind": "Stopped", "number": error.number}
        if isinstance(error, ReportedError):
            return {"kind": type(error.cause).__name__, "text": str(error)}
        what = f"process {self._rank} of {self._count} failed: {type(error).__name__}: {error}"
        return {"kind": "AllmlpError", "text": what}


def is_shared(error: BaseException) -> bool:
    """Return whether all processes end by this error at the same place, and can still do things together."""
    return isinstance(error, ReportedError | Stopped) and error.is_shared


def _of_another(notice: dict[str, Any]) -> BaseException:
    if notice["kind"] == "Stopped":
        return Stopped(notice["number"])
    return ReportedError(getattr(errors, notice["kind"])(notice["text"]), is_speaker=False)


def _is_lost(error: RuntimeError) -> bool:
    """Whether it reports that another process could not be reached. gloo has no type of its own for that."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "pair closure" in str(error)
