"""Failure notices, by which the failure of one process ends all of them with a single message.

A process that fails leaves a notice before its connections close. The others find their connections broken, read the notice
and end with the same error. If there is no notice, a process was killed or hangs.
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

# Seconds to wait for another process, which may be dead: until it responds, and until it leaves its notice.
_RESPONSE_S, _NOTICE_S = 5.0, 10.0
_FAILED, _NOTICE, _REPORTED = "failed", "notice", "reported"


class FailureNotices:
    """The notices that the processes of one torchrun attempt leave for each other when they fail, in their shared store."""

    def __init__(self, store: dist.Store, *, rank: int, count: int) -> None:  # type: ignore[name-defined]
        self._store = store
        self._rank = rank
        self._count = count
        self._ending: BaseException | None = None

    def explain(self, error: BaseException) -> BaseException:
        """Return the error that ends this process, given what it raised: the first failure among all processes.

        An error that all processes raise at the same point is returned unchanged. If this process failed first, its error is
        returned with the process named in the message. Further calls have no effect.
        """
        if error is self._ending or is_shared(error):
            return error
        try:
            self._store.set(f"here/{self._rank}", b"1")
            if self._store.add(_FAILED, 1) == 1:
                self._ending = self._own_failure(error)
                self._store.set(_NOTICE, json.dumps(self._notice(self._ending)))
            else:
                has_notice = self._wait_for([_NOTICE], _NOTICE_S)
                self._ending = (
                    _from_notice(json.loads(self._store.get(_NOTICE))) if has_notice else self._own_failure(error)
                )
        except RuntimeError:
            # The store is gone with its machine: one process on each remaining machine reports the loss.
            self._ending = self._own_failure(error, reports_loss=os.environ.get("LOCAL_RANK", "0") == "0")
        return self._ending

    def wait_for_speaker(self, error: BaseException) -> None:
        """Wait until the process that reports the error is about to exit: torchrun kills all others after the first exit."""
        is_speaker = self._rank == 0 if isinstance(error, Stopped) else True
        if isinstance(error, ReportedError):
            is_speaker = error.is_speaker
        with contextlib.suppress(RuntimeError):
            if is_speaker:
                self._store.set(_REPORTED, b"1")
            else:
                self._wait_for([_REPORTED], _RESPONSE_S)

    def _wait_for(self, keys: list[str], seconds: float) -> bool:
        """Return whether all keys are in the store before the timeout. The store's own `wait` logs an error instead."""
        deadline = time.monotonic() + seconds
        while not self._store.check(keys):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _own_failure(self, error: BaseException, *, reports_loss: bool = True) -> BaseException:
        process = f"process {self._rank} of {self._count}"
        if isinstance(error, RuntimeError) and _is_lost(error):
            lost = ProcessLostError(f"{process} {self._loss_text(str(error))}")
            return ReportedError(lost, is_speaker=reports_loss)
        if isinstance(error, AllmlpError):
            return ReportedError(type(error)(f"{process}: {error}"), is_speaker=True)
        return error

    def _loss_text(self, reason: str) -> str:
        advice = (
            "Snapshots are not affected: start the same command with --resume again to continue (torchrun --max-restarts 3 "
            "does so by itself)."
        )
        if not ("Timed out" in reason or "timeout" in reason):
            return (
                "lost the connection to another process: it was killed or ran out of memory, or its machine went down. "
                f"torchrun's report below names it. {advice}"
            )
        return (
            f"timed out after ALLMLP_TIMEOUT_S waiting for {self._missing_text()}. It was stopped, or busy for longer than "
            f"that. {advice} "
            "If a step or a validation batch takes longer, increase ALLMLP_TIMEOUT_S (seconds)."
        )

    def _missing_text(self) -> str:
        """Return who does not respond: processes that wait for the same one give up at about the same time."""
        other_ranks = [rank for rank in range(self._count) if rank != self._rank]
        self._wait_for([f"here/{rank}" for rank in other_ranks], _RESPONSE_S)
        missing = [str(rank) for rank in other_ranks if not self._store.check([f"here/{rank}"])]
        return f"process {', '.join(missing)}, which does not respond" if missing else "a process that now responds"

    def _notice(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, Stopped):
            return {"kind": "Stopped", "number": error.number}
        if isinstance(error, ReportedError):
            return {"kind": type(error.cause).__name__, "text": str(error)}
        text = f"process {self._rank} of {self._count} failed: {type(error).__name__}: {error}"
        return {"kind": "AllmlpError", "text": text}


def is_shared(error: BaseException) -> bool:
    """Return whether all processes raise this error at the same point, so that they can still communicate."""
    return isinstance(error, ReportedError | Stopped) and error.is_shared


def _from_notice(notice: dict[str, Any]) -> BaseException:
    if notice["kind"] == "Stopped":
        return Stopped(notice["number"])
    return ReportedError(getattr(errors, notice["kind"])(notice["text"]), is_speaker=False)


def _is_lost(error: RuntimeError) -> bool:
    """Return whether the error means that another process could not be reached; gloo has no exception type for that."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "pair closure" in str(error)
