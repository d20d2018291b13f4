"""Weights & Biases: online, or offline with WANDB_MODE=offline, as its own settings say."""

import uuid
from collections.abc import Mapping
from typing import Any

from allmlp.io.atomic_write import write_text
from allmlp.training.loggers.logger import LoggedRun, Logger

__all__ = ["open_wandb"]

_ID_FILE = "run_id.txt"


class _Wandb:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        # Not wandb's own step, which may only grow: a resumed run repeats the steps since its last snapshot.
        self._run.log({**values, "step": step})

    def close(self, *, is_finished: bool) -> None:
        self._run.finish(exit_code=0 if is_finished else 1)


def open_wandb(run: LoggedRun) -> Logger:
    """Start a run of W&B, or continue the one whose ID an earlier session kept in RUN/loggers/wandb."""
    import wandb

    id_file = run.folder / _ID_FILE
    run_id = id_file.read_text(encoding="utf-8").strip() if id_file.exists() else uuid.uuid4().hex[:16]
    write_text(id_file, run_id)
    started = wandb.init(
        id=run_id,
        resume="allow",
        name=run.name,
        project=None,  # WANDB_PROJECT, else W&B's own default
        dir=str(run.folder),
        config=dict(run.settings),
    )
    started.define_metric("*", step_metric="step")
    return _Wandb(started)
