"""What may happen to checkpoints/best while it is written, and kills at arbitrary moments."""

import re
import threading
import time
from pathlib import Path
from typing import Any

from tests.reliability.faulty import PATIENCE, Act, wrap

from allmlp import ConfigError
from allmlp.training.snapshots import checkpoint_writer
from allmlp.training.snapshots.checkpoint_writer import CheckpointWriter


def failing_once(step: int, _act: Act) -> None:
    """The disk is full as the best weights of this step are written, and only then."""
    failures: list[int] = []

    def save(original: Any, checkpoint: Any, directory: Path) -> Any:
        if _is_best_of(step, checkpoint, directory) and not failures:
            failures.append(step)
            raise ConfigError(f"{directory}: could not be written (No space left on device).")
        return original(checkpoint, directory)

    wrap(checkpoint_writer, "save_checkpoint", save)


def failing(step: int, _act: Act) -> None:
    """The best weights cannot be written from this step on, nor at the end of the run."""

    def save(original: Any, checkpoint: Any, directory: Path) -> Any:
        if directory.name == "best" and _step_of(checkpoint) >= step:
            raise ConfigError(f"{directory}: could not be written (No space left on device).")
        return original(checkpoint, directory)

    wrap(checkpoint_writer, "save_checkpoint", save)


def slow(step: int, _act: Act) -> None:
    """Writing the best weights of this step takes longer than the process lives."""

    def save(original: Any, checkpoint: Any, directory: Path) -> Any:
        if _is_best_of(step, checkpoint, directory):
            threading.Event().wait(PATIENCE)
        return original(checkpoint, directory)

    wrap(checkpoint_writer, "save_checkpoint", save)


def forgotten(_step: int, _act: Act) -> None:
    """Snapshots do not hold the best weights; the comparison has to see it."""
    wrap(CheckpointWriter, "best_tensors", lambda _original, _self: {})


def sometime(milliseconds: int, act: Act) -> None:
    """So long after the recipe was loaded, wherever that is."""

    def wait_and_act() -> None:
        time.sleep(milliseconds / 1000)
        act()

    threading.Thread(target=wait_and_act, daemon=True).start()


def _is_best_of(step: int, checkpoint: Any, directory: Path) -> bool:
    return directory.name == "best" and _step_of(checkpoint) == step


def _step_of(checkpoint: Any) -> int:
    found = re.search(r"step (\d+)", checkpoint.source)
    assert found is not None
    return int(found[1])


PLACES = {
    "best fails once": failing_once,
    "best always fails": failing,
    "best is slow": slow,
    "snapshots without the best": forgotten,
    "at a random moment": sometime,
}
