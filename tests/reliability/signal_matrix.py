"""SIGTERM and SIGINT at every kind of place: the step is finished, saved once, and the process gone without a trace."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.reliability.kill_matrix import leftovers, outcome_of_the_end
from tests.reliability.ledger import Outcome
from tests.reliability.sessions import Ended, Setting, Stage, started

SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Case:
    """Signals with their places, and the step whose save is the newest then; None where nothing can be saved yet."""

    name: str
    signals: tuple[tuple[str, str, int], ...]  # signal, place, step
    step: int | None
    save_every: int | None = None
    storage: str = "memory"

    @property
    def code(self) -> int:
        """The exit code that docs/training.md promises: that of the first signal."""
        return {"SIGTERM": 143, "SIGINT": 130}[self.signals[0][0]]


def _cases() -> list[Case]:
    cases = []
    for number in ("SIGTERM", "SIGINT"):
        cases += [
            Case(f"{number} while reading photos", ((number, "reading", 0),), None),
            Case(f"{number} before step 1", ((number, "beginning", 0),), 0),
            Case(f"{number} in the middle of a step", ((number, "in step", 6),), 6),
            Case(f"{number} during evaluation", ((number, "in evaluation", 7),), 7),
            Case(f"{number} while saving", ((number, "during a save", 6),), 6, save_every=6),
            Case(f"{number} during final scoring", ((number, "scoring", 10),), 10),
        ]
    twice = (("SIGTERM", "in step", 6), ("SIGTERM", "during a save", 6))
    mixed = (("SIGINT", "in step", 6), ("SIGTERM", "during a save", 6))
    return [
        *cases,
        Case("SIGTERM twice (in a step, and in the resulting save)", twice, 6),
        Case("SIGINT, then SIGTERM (in a step, and in the resulting save)", mixed, 6),
        Case("SIGTERM in the middle of a step (streaming with 2 workers)", twice[:1], 6, storage="stream"),
    ]


CASES = _cases()


def run(case: Case, stage: Stage, folder: Path) -> Outcome:
    """Send the signals, look at what is left, continue to the end, and compare."""
    path, setting = folder / "run", Setting(case.storage, save_every=case.save_every)
    command = stage.command(path, setting)
    shared = shared_memory()
    faults = [{"place": place, "step": step, "signal": number} for number, place, step in case.signals]
    ended = started(command, path, faults)
    problems = _problems(case, ended, path)
    problems += [f"left in {SHARED_MEMORY}: {name}" for name in sorted(shared_memory() - shared) if not is_used(name)]
    saved = case.step or 0
    reference = stage.reference(setting)
    outcome = outcome_of_the_end(command, path, reference, (saved,), problems)
    return Outcome.of(outcome.problems, seconds_to_end=round(ended.seconds_after_signal or 0.0, 2))


def _problems(case: Case, ended: Ended, path: Path) -> list[str]:
    problems = [f"exit code {ended.code}: {ended.output}"] * (ended.code != case.code)
    problems += ["a traceback"] * ("Traceback" in ended.output)
    problems += [f"not all signals were sent: {ended}"] * (ended.seconds_after_signal is None)
    problems += [f"process {left} is still there" for left in _descendants(ended.pid)]
    problems += [f"left behind: {left}" for left in leftovers(path)]
    saves = sorted(save.name for save in (path / "resume").glob("*"))
    wanted = [] if case.step is None else [f"step-{case.step:09}"]
    problems += [f"saved: {saves} instead of {wanted}"] * (saves != wanted)
    if ended.steps and not problems:
        problems += _disagreements(path, ended.steps[-1])
    return problems


def _disagreements(path: Path, step: int) -> list[str]:
    """Compare the step that was begun last with what the files of the run say."""
    facts: dict[str, Any] = json.loads(next((path / "resume").glob("*/state.json")).read_text())
    source: str = json.loads((path / "checkpoints" / "last" / "config.json").read_text())["source"]
    problems = [f"the save is of step {facts['step']}, the last one begun {step}"] * (facts["step"] != step)
    return problems + [f"checkpoints/last: {source}"] * (not source.endswith(f"step {step}"))


def _descendants(leader: int) -> list[int]:
    """Return the processes of the session that a process led."""
    left = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == leader:
                left.append(pid)
        except ProcessLookupError:  # it has ended meanwhile
            continue
    return left


def shared_memory() -> set[str]:
    return {path.name for path in SHARED_MEMORY.iterdir()} if SHARED_MEMORY.is_dir() else set()


def is_used(name: str) -> bool:
    """Whether a living process, which is none of ours, has the file open or mapped; other programs may be at work here."""
    for process in psutil.process_iter():
        try:
            maps = {Path(each.path).name for each in process.memory_maps() if each.path.startswith(str(SHARED_MEMORY))}
            if name in maps | {Path(each.path).name for each in process.open_files()}:
                return True
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return False
