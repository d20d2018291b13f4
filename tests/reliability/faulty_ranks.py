"""The recipes of the matrix for many processes: a fault is meant for one process, of one attempt of torchrun."""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from tests.reliability import faulty
from tests.reliability.faulty import DIARY, FAULTS, act_of, note_steps, wrap, write_down
from tests.training.small_runs import TINY

from allmlp import Recipe
from allmlp.training import OptimizerConfig, SavingConfig

BATCH_SIZE = 12


def tiny() -> Recipe:
    """Return a recipe in which everything that draws from chance is on; epochs as in `faulty.tiny`."""
    _begin()
    return dataclasses.replace(TINY, batch_size=BATCH_SIZE, saving=SavingConfig(every_minutes=None))


def comparable() -> Recipe:
    """Return one whose losses do not depend on the number of processes, but for rounding.

    No dropout, whose draws are a function of the process, too; and no Muon, whose steps are computed in bfloat16.
    """
    model = dataclasses.replace(TINY.model, dropout=0.0)
    optimizer = OptimizerConfig(name="adamw", learning_rate=3e-3)
    return dataclasses.replace(tiny(), model=model, optimizer=optimizer)


def _begin() -> None:
    from tests.reliability import faulty_job, faulty_places, faulty_values

    places = {**faulty_places.PLACES, **faulty_values.PLACES, **faulty_job.PLACES}
    rank, attempt = (os.environ.get(name, "0") for name in ("RANK", "TORCHELASTIC_RESTART_COUNT"))
    os.environ[DIARY] += f".{attempt}.{rank}"  # every process has one of its own
    write_down(f"pid {os.getpid()}")
    for fault in json.loads(os.environ.get(FAULTS, "[]")):
        if str(fault.get("rank", rank)) == rank and str(fault.get("attempt", attempt)) == attempt:
            places[fault["place"]](fault["step"], act_of(fault))
    note_steps()
    _note_samples()


def _note_samples() -> None:
    """Write down each step's loss, which samples its batch has, and which of them this process made."""
    from allmlp.training import input_pipeline as feed
    from allmlp.training import loop

    def update(original: Any, state: Any, model: Any, batch: Any, *rest: Any, **options: Any) -> float:
        loss: float = original(state, model, batch, *rest, **options)
        write_down(f"loss {state.step} {loss.hex()}")
        return loss

    def augmented(original: Any, self: Any, raw: Any, places: Any, step: int, indices: Any, epochs: Any) -> Any:
        batch = original(self, raw, places, step, indices, epochs)
        made = self.order.keys[indices[places]][-len(batch.images) :]
        write_down(f"batch {step + 1} {_hex(batch.keys)} {_hex(made)}")
        return batch

    wrap(loop, "update", update)
    wrap(feed.InputPipeline, "_augmented", augmented)


def _hex(keys: Any) -> str:
    return ",".join(f"{int(key):x}" for key in keys)


def wait_until(is_so: Any) -> None:
    """Wait for what another process does."""
    ends = time.monotonic() + faulty.PATIENCE
    while not is_so():
        assert time.monotonic() < ends, "waited in vain for another process"
        time.sleep(0.01)


def marker(name: str) -> Path:
    """Return a file by which processes of one job tell each other how far they are."""
    return Path(f"{os.environ[DIARY].rsplit('.', 2)[0]}.{name}")
