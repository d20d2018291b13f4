"""SIGKILL at every kind of place: what `allmlp train --resume` makes of the rest equals a run that nothing happened to."""

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.reliability.ledger import Outcome
from tests.reliability.sessions import Setting, Stage, forked
from tests.training.same_run import differences, final_state

from allmlp.hardware.devices import is_bfloat16_faster

NUM_STEPS = 10
PRECISIONS = ("float32", "bfloat16") if is_bfloat16_faster("cpu") else ("float32",)


@dataclass(frozen=True)
class Kill:
    """A place of `faulty_places`, the step there (0: before the first), and the numbers of steps that may be saved by then."""

    what: str
    place: str
    step: int
    saved: tuple[int, ...]


# Epochs end in step 4, with step 7 (whose batch ends with the epoch) and after step 10; every second step is saved.
KILLS = (
    Kill("step 1", "in step", 1, (0,)),
    Kill("middle of an epoch", "in step", 6, (4,)),
    Kill("last batch of an epoch", "in step", 7, (6,)),
    Kill("first batch of an epoch", "in step", 8, (6,)),
    Kill("during evaluation", "in evaluation", 7, (6,)),
    Kill("while saving a snapshot", "before a save has its name", 4, (2,)),
)
MORE_KILLS = (
    Kill("while saving a snapshot, between two files", "between two files of a save", 4, (2,)),
    Kill("while saving a snapshot, after the rename", "after a save has its name", 4, (4,)),
    Kill("while deleting an old snapshot", "as an old save is deleted", 2, (6,)),
    Kill("while saving a checkpoint", "between two files of a checkpoint", 2, (0, 2)),
    Kill("during final scoring", "scoring", 10, (10,)),
    Kill("while writing the report", "as the report is written", 10, (10,)),
    Kill("while writing the description of the run", "as the run is described", 0, (0,)),
    Kill("before writing the recipe", "before the recipe is written", 0, (0,)),
)


@dataclass(frozen=True)
class Case:
    """Kills, each in a session of its own, one after the other."""

    name: str
    kills: tuple[Kill, ...]
    setting: Setting
    other_workers: bool = False


def _cases() -> list[Case]:
    settings = [Setting(*each) for each in itertools.product(("memory", "stream"), PRECISIONS, (1, 3))]
    cases = [Case(f"{kill.what} ({setting})", (kill,), setting) for kill in KILLS for setting in settings]
    cases += [Case(f"{kill.what} ({Setting()})", (kill,), Setting()) for kill in MORE_KILLS]
    thrice = tuple(Kill("", "in step", step, (step - 1,)) for step in (5, 6, 7))
    for storage in ("memory", "stream"):
        setting = Setting(storage, save_every=1)
        cases.append(Case(f"three kills in one epoch ({setting})", thrice, setting))
    streamed = Setting("stream", workers=2)
    cases.append(
        Case(
            "other number of workers after resuming (2, streaming; then none, from memory)",
            (KILLS[1],),
            streamed,
            other_workers=True,
        )
    )
    return cases


CASES = _cases()


def run(case: Case, stage: Stage, folder: Path) -> Outcome:
    """Kill, continue to the end, and compare."""
    path = folder / "run"
    command = stage.command(path, case.setting)
    problems: list[str] = []
    saved: tuple[int, ...] = (0,)
    for kill in case.kills:
        ended = forked(command, path, [{"place": kill.place, "step": kill.step}])
        problems += [f"exit code {ended.code}: {ended.output}"] * (ended.code != -9)
        problems += (
            _began_elsewhere(ended.steps, saved) if kill.step else [f"took steps {ended.steps}"] * bool(ended.steps)
        )
        saved = kill.saved
    if case.other_workers:
        setting = replace(case.setting, storage="memory", workers=0)
        _as_on_another_machine(path, setting)
        command = stage.command(path, setting)
    return outcome_of_the_end(command, path, stage.reference(case.setting), saved, problems)


def outcome_of_the_end(
    command: list[str], path: Path, reference: Path, saved: tuple[int, ...], problems: list[str], faults: Any = ()
) -> Outcome:
    """Continue a run from one of the `saved` steps to its end, and compare it with another."""
    ended = forked(command, path, faults)
    if ended.code != 0:
        return Outcome.of([*problems, f"exit code {ended.code}: {ended.output}"])
    problems = problems + _began_elsewhere(ended.steps, saved)
    problems += [f"left behind: {left}" for left in leftovers(path)]
    problems += [f"differs: {name}" for name in differences(path, reference)]
    return Outcome.of(problems, values=sum(value.size for value in final_state(path).values()))


def leftovers(path: Path) -> list[str]:
    """Return what is in a run folder of files half written or half deleted."""
    return [str(left.relative_to(path)) for kind in ("part", "gone") for left in path.rglob(f"*.{kind}")]


def control(fault: str, stage: Stage, folder: Path) -> Outcome:
    """Continue with a fault that has to be seen. It passes when the problems are not empty."""
    path, command = folder / "run", stage.command(folder / "run", Setting())
    killed = forked(command, path, [{"place": "in step", "step": 6}])
    assert killed.code == -9, killed.output
    outcome = outcome_of_the_end(command, path, stage.reference(Setting()), (4,), [], [{"place": fault, "step": 0}])
    claims = "resumed at step 4 of 10" in (path / "log.txt").read_text()
    seen = [problem for problem in outcome.problems if not problem.startswith("exit code")]
    return Outcome.of([] if seen and claims else [f"{fault} was not seen"])


def _began_elsewhere(steps: list[int], saved: tuple[int, ...]) -> list[str]:
    """Compare the steps that a session took, which it may misreport, with those that were on the disk."""
    first = steps[0] if steps else NUM_STEPS + 1
    if first - 1 in saved and steps == list(range(first, first + len(steps))):
        return []
    return [f"took the steps {steps} where {saved} were saved"]


def _as_on_another_machine(path: Path, setting: Setting) -> None:
    """Storage and workers are the recipe's, which is compared: they change in the run's own file."""
    recipe = json.loads((path / "recipe.json").read_text())
    recipe["data"] |= {"storage": setting.storage, "num_workers": setting.workers}
    (path / "recipe.json").write_text(json.dumps(recipe))
