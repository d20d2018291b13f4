"""The recipe of the reliability matrices, with the fault in it that `ALLMLP_FAULTS` asks for.

`allmlp train --recipe tests.reliability.faulty:tiny` loads this module in the process that trains; there, a function at the
place where the fault is due is wrapped. Nothing depends on time: a fault comes at a step, in a function, in a thread.
"""

import contextlib
import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.training.small_runs import TINY

from allmlp import Recipe
from allmlp.training import SavingConfig

FAULTS = "ALLMLP_FAULTS"  # JSON: a list of {"place": a key of PLACES, "step": ..., and what the fault is}
DIARY = "ALLMLP_DIARY"  # a file: a line for each step that is begun, and for each signal

Act = Callable[[], None]

PATIENCE = 60.0  # seconds: a thread that waits longer for another has found a bug


def tiny() -> Recipe:
    """Return the recipe; 42 photos a epoch, 12 a step: epochs end in step 4, with step 7, and after step 10, the last."""
    from tests.reliability import faulty_best, faulty_places, faulty_values

    for fault in json.loads(os.environ.get(FAULTS, "[]")):
        place = {**faulty_places.PLACES, **faulty_values.PLACES, **faulty_best.PLACES}[fault["place"]]
        place(fault["step"], act_of(fault))
    note_steps()
    return dataclasses.replace(TINY, batch_size=12, saving=SavingConfig(every_minutes=None))


def act_of(fault: dict[str, Any]) -> Act:
    """Return what the fault does when its place is reached: a signal to this very process, once. Values need none."""
    number = signal.Signals[fault.get("signal", "SIGKILL")]
    todo = [number]

    def act() -> None:
        if todo:
            write_down(f"{todo.pop().name} {time.time()}")
            os.kill(os.getpid(), number)

    return act


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace a function or method by `around(original, *arguments)`."""
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        return around(original, *arguments, **named)

    setattr(owner, name, wrapped)


def note_steps() -> None:
    """Write every step that is begun into the diary: what a session really did, whatever it says."""
    from allmlp.training import loop

    def update(original: Any, state: Any, *rest: Any, **options: Any) -> Any:
        write_down(f"step {state.step + 1}")
        return original(state, *rest, **options)

    wrap(loop, "update", update)


def write_down(line: str) -> None:
    """Add a line to the diary; the kernel has it when this returns, so that SIGKILL cannot lose it."""
    with contextlib.suppress(KeyError), Path(os.environ[DIARY]).open("a") as file:
        file.write(f"{line}\n")


def held(owner: Any, name: str, chosen: Callable[..., bool]) -> tuple[threading.Event, threading.Event]:
    """Return two events: another thread sets the first when it calls a function so, and goes on after the second is set."""
    reached, go_on = threading.Event(), threading.Event()

    def around(original: Any, *arguments: Any) -> Any:
        if not go_on.is_set() and chosen(*arguments):
            reached.set()
            assert go_on.wait(PATIENCE)
        return original(*arguments)

    wrap(owner, name, around)
    return reached, go_on
