"""`allmlp train` in processes of its own, and what each of them did."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.forks import run_arguments, start
from tests.reliability.faulty import DIARY, FAULTS
from tests.training.small_runs import write_photos

ROOT = Path(__file__).parents[2]
TIMEOUT = 300.0  # seconds; a session takes a few

Faults = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Setting:
    """What the cases of a matrix vary; two of the same precision and accumulation compute the same bits."""

    storage: str = "memory"
    precision: str = "float32"
    accumulation: int = 1
    workers: int = 2
    save_every: int | None = 2
    on_nonfinite: str = "stop"

    def options(self) -> list[str]:
        """Return the options of `allmlp train`."""
        values = {
            "data.storage": self.storage,
            "data.num_workers": self.workers,
            "precision": self.precision,
            "accumulation": self.accumulation,
            "saving.every_steps": "none" if self.save_every is None else self.save_every,
            "on_nonfinite": self.on_nonfinite,
        }
        return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]

    def __str__(self) -> str:
        return f"{self.storage}, {self.precision}, accumulation {self.accumulation}"


@dataclass(frozen=True)
class Ended:
    """A session that has ended.

    Attributes:
        code: its exit code, negative when a signal killed it.
        output: what it printed.
        steps: which it began, in order, the first step of a run being 1.
        pid: its process, that led a session of processes.
        seconds_after_signal: from the last signal that it sent itself to its end; None without.
    """

    code: int
    output: str
    steps: list[int]
    pid: int
    seconds_after_signal: float | None


class Stage:
    """Photos, and for each setting one run that nothing happened to, made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._references: dict[tuple[str, int], Path] = {}

    @cached_property
    def photos(self) -> Path:
        root = write_photos(self._folder / "photos", splits=("train",))
        return write_photos(
            root, per_class=24, splits=("val",)
        )  # 72 photos: two batches, so that it can be left midway

    @cached_property
    def seconds(self) -> float:
        """Return how long a session takes that trains from the first step to the last."""
        run = self._folder / "timed"
        began = time.monotonic()
        assert forked(self.command(run, Setting()), run).code == 0
        return time.monotonic() - began

    def reference(self, setting: Setting) -> Path:
        """Return an undisturbed run from memory, which streamed ones have to equal, too."""
        key = (setting.precision, setting.accumulation)
        if key not in self._references:
            run = self._folder / f"reference-{setting.precision}-{setting.accumulation}"
            ended = forked(
                self.command(run, Setting(precision=setting.precision, accumulation=setting.accumulation)), run
            )
            assert ended.code == 0 and ended.steps == list(range(1, 11)), ended.output
            self._references[key] = run
        return self._references[key]

    def command(self, run: Path, setting: Setting) -> list[str]:
        """Return the one command that begins a run and continues it."""
        recipe = ["--recipe", "tests.reliability.faulty:tiny"]
        return ["train", str(self.photos), "--resume", str(run), *recipe, *setting.options()]


def forked(command: Sequence[str], run: Path, faults: Faults = ()) -> Ended:
    """Carry out a command of allmlp in a new process, forked from one that has imported what takes seconds to import."""
    return _observed(run, lambda diary, output: _fork(command, faults, diary, output))


def started(command: Sequence[str], run: Path, faults: Faults = ()) -> Ended:
    """Carry out `python -m allmlp ...`, that leads a session of processes of its own."""
    return _observed(run, lambda diary, output: _start(command, faults, diary, output))


def _fork(command: Sequence[str], faults: Faults, diary: Path, output: Path) -> tuple[int, int]:
    environment = {**os.environ, **_variables(faults, diary)}
    process = start(run_arguments, ["-m", "allmlp", *command], environment, output, output, ROOT)
    return process.wait(TIMEOUT), process.pid


def _start(command: Sequence[str], faults: Faults, diary: Path, output: Path) -> tuple[int, int]:
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "allmlp", *command],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_variables(faults, diary)},
            cwd=ROOT,
            start_new_session=True,
        )
        return process.wait(TIMEOUT), process.pid


def _variables(faults: Faults, diary: Path) -> dict[str, str]:
    return {FAULTS: json.dumps(list(faults)), DIARY: str(diary)}


def _observed(run: Path, run_request: Any) -> Ended:
    run.parent.mkdir(parents=True, exist_ok=True)
    number = len(list(run.parent.glob(f"{run.name}-*.diary")))
    diary, output = (run.with_name(f"{run.name}-{number}.{kind}") for kind in ("diary", "output"))
    diary.touch()
    code, pid = run_request(diary, output)
    ended = time.time()
    lines = [line.split() for line in diary.read_text().splitlines()]
    signals = [float(when) for what, when in lines if what != "step"]
    return Ended(
        code=code,
        output=output.read_text(),
        steps=[int(step) for what, step in lines if what == "step"],
        pid=pid,
        seconds_after_signal=ended - max(signals) if signals else None,
    )
