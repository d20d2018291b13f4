"""SIGKILL while checkpoints/best is written late, or could not be written: the resumed run has the best of its history.

The best improves in every epoch of the reference: its weights are those of steps 4, 7 and 10.
"""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.reliability.kill_matrix import outcome_of_the_end
from tests.reliability.ledger import Outcome
from tests.reliability.sessions import Setting, Stage, forked

NUM_RANDOM = 200

Fault = dict[str, Any]
Case = Callable[[Stage, Path], Outcome]

# Where the process is killed, the step there, and the steps whose snapshots may be the newest. Later than any best of step 4.
_KILLS: tuple[tuple[str, int, tuple[int, ...]], ...] = (
    ("in step", 5, (4,)),
    ("in step", 6, (4,)),
    ("in step", 7, (6,)),
    ("in evaluation", 7, (6,)),
    ("in step", 8, (6,)),
    ("before a save has its name", 8, (6,)),
    ("after a save has its name", 8, (8,)),
    ("in step", 9, (8,)),
    ("in step", 10, (8,)),
    ("in evaluation", 10, (8,)),
    ("after a save has its name", 10, (10,)),
    ("scoring", 10, (10,)),
    ("as the report is written", 10, (10,)),
)


def killed(faults: tuple[Fault, ...], saved: tuple[int, ...], stage: Stage, folder: Path, resume: Any = ()) -> Outcome:
    """Kill a run in which writing the best goes wrong, resume it, with `resume` going wrong then, and compare."""
    path = folder / "run"
    command = stage.command(path, Setting())
    ended = forked(command, path, faults)
    problems = [f"exit code {ended.code}: {ended.output}"] * (ended.code != -9)
    return outcome_of_the_end(command, path, stage.reference(Setting()), saved, problems, resume)


def never_written(stage: Stage, folder: Path) -> Outcome:
    """Train to the end without ever being able to write the best: an error, and nothing is lost."""
    path = folder / "run"
    command = stage.command(path, Setting())
    ended = forked(command, path, [_fault("best always fails", 1)])
    problems = [f"exit code {ended.code}: {ended.output}"] * (
        ended.code != 2 or "could not be written" not in ended.output
    )
    return outcome_of_the_end(command, path, stage.reference(Setting()), (10,), problems)


def at_random(number: int, stage: Stage, folder: Path) -> Outcome:
    """Kill at a moment drawn from the time that a whole run takes, twice, and resume."""
    path = folder / "run"
    command = stage.command(path, Setting())
    draws = random.Random(number)
    problems = []
    for _ in range(2):
        moment = draws.randrange(int(1000 * stage.seconds))
        ended = forked(command, path, [_fault("at a random moment", moment)])
        # A run that ended before that moment is a run that nothing happened to.
        problems += [f"exit code {ended.code}: {ended.output}"] * (ended.code not in (-9, 0))
    return outcome_of_the_end(command, path, stage.reference(Setting()), tuple(range(0, 11, 2)), problems)


def control(stage: Stage, folder: Path) -> Outcome:
    """Resume a run whose snapshots lack the best, as they once did. It passes when the comparison sees it."""
    forget = _fault("snapshots without the best")
    faults = (_fault("best fails once", 7), _fault("in step", 9), forget)
    # The last best is not written either, so that the run is left with the one before that of its history.
    outcome = killed(faults, (8,), stage, folder, [forget, _fault("best fails once", 10)])
    seen = [problem for problem in outcome.problems if problem.startswith("differs")]
    return Outcome.of([] if seen else ["snapshots without the best were not seen"])


def _fault(place: str, step: int = 0) -> Fault:
    return {"place": place, "step": step}


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {"best: never written": never_written}
    for place, step, saved in _KILLS:
        kill = _fault(place, step)
        for best in (4, 7, 10):
            if best < step or (
                best == step and place not in ("in step", "in evaluation", "before a save has its name")
            ):
                name = f"best: failed once, then killed (step {best}; {place} {step})"
                cases[name] = functools.partial(killed, (_fault("best fails once", best), kill), saved)
        name = f"best: always failed, then killed ({place} {step})"
        if place not in ("scoring", "as the report is written"):  # such a run ends with an error before
            cases[name] = functools.partial(killed, (_fault("best always fails", 1), kill), saved)
    for step, best in ((4, 4), (8, 7), (10, 10)):
        kill = _fault("after a save has its name", step)
        cases[f"best: slow, then killed (step {best})"] = functools.partial(
            killed, (_fault("best is slow", best), kill), (step,)
        )
    return cases


CASES = _cases()
RANDOM_CASES: dict[str, Case] = {
    f"kill: at two random moments ({number})": functools.partial(at_random, number) for number in range(NUM_RANDOM)
}
