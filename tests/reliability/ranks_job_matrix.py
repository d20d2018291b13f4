"""One process of several is killed, stopped or told to stop, at every kind of place; and a machine of two goes down."""

import functools
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reliability.kill_matrix import leftovers
from tests.reliability.ledger import Outcome
from tests.reliability.ranks_sessions import SHUTDOWN, Ended, Job, Running, carried_out
from tests.reliability.ranks_stage import SHARDED, TINY, Case, Kind, RanksStage, not_the_same, num_values, once
from tests.reliability.sessions import Faults
from tests.reliability.signal_matrix import SHARED_MEMORY, is_used, shared_memory

SAVED_ONCE = "Stopped. The progress so far is saved"


def fault(place: str, step: int, rank: int | None, number: str = "SIGKILL", attempt: int = 0) -> dict[str, Any]:
    """Return a fault for a process, all of them where `rank` is None, of the first attempt unless told otherwise."""
    meant = {} if rank is None else {"rank": rank}
    return {"place": place, "step": step, "signal": number, "attempt": attempt, **meant}


def killed(
    stage: RanksStage,
    folder: Path,
    *,
    faults: Faults,
    processes: int = 2,
    nodes: int = 1,
    kind: Kind = TINY,
    real: bool = False,
) -> Outcome:
    """Kill processes under --max-restarts: the job ends by itself as one that nothing happened to."""
    run, num_kills = folder / "run", len([each for each in faults if each["place"] != "held save"])
    ended = carried_out(run, Job(processes, nodes=nodes, restarts=3, real=real), stage.command(run, kind), faults)
    problems = not_the_same(run, stage.run(kind, processes)[0], ended)
    problems += [f"{len(ended.attempts)} attempts"] * (len(ended.attempts) != num_kills + 1)
    for before, after in zip(ended.attempts, ended.attempts[1:], strict=False):
        problems += _goes_on_badly(before[0].begun, after[0].begun)
    problems += ["a traceback"] * ("Traceback" in ended.told)
    return Outcome.of(problems, values=num_values(run) if not ended.codes[0] else 0)


def _goes_on_badly(before: list[int], after: list[int]) -> list[str]:
    """Return a problem when one was passed over, or far more taken again than the steps since the last save."""
    if not after:
        return []
    last = before[-1] if before else 0
    is_right = last - 4 <= after[0] - 1 <= last and after == list(range(after[0], after[-1] + 1))
    return [] if is_right else [f"took steps {before}, then {after}"]


@dataclass(frozen=True)
class Stop:
    """SIGSTOP for one process at a place."""

    place: str
    step: int
    rank: int
    processes: int = 2
    kind: Kind = TINY
    restarts: int = 0


STOPS = {
    "process 1 of 2, in a step": Stop("before a step", 5, 1),
    "process 0 of 3, in a step": Stop("before a step", 5, 0, processes=3),
    "process 1 of 2, during evaluation": Stop("in evaluation", 7, 1),
    "process 1 of 2, sharded": Stop("before a step", 5, 1, kind=SHARDED),
    "process 1 of 2, restarted by torchrun": Stop("before a step", 5, 1, restarts=1),
}
STOP_TIMEOUT_S = 10.0


def stopped(stops: dict[str, Stop], stage: RanksStage, folder: Path) -> Outcome:
    """SIGSTOP: the others wait no longer than they are told, and say who gives no answer. Then each run goes on.

    The jobs wait most of their time, so they do it side by side.
    """
    for stop in stops.values():
        stage.run(stop.kind, stop.processes)
    running = {}
    for name, stop in stops.items():
        run = folder / f"run-{len(running)}"
        job = Job(stop.processes, timeout_s=STOP_TIMEOUT_S, restarts=stop.restarts)
        faults = [fault(stop.place, stop.step, stop.rank, "SIGSTOP")]
        running[name] = Running(run, job, stage.command(run, stop.kind), faults)
    problems: list[str] = []
    longest, num_passed = 0.0, 0
    for name, stop in stops.items():
        found, seconds = _badly_waited(running[name], stop, stage)
        problems += [f"{name}: {problem}" for problem in found]
        num_passed += not found
        longest = max(longest, seconds)
    return Outcome(problems, cases=len(stops), passed=num_passed, figures={"seconds_to_end": longest})


def _badly_waited(running: Running, stop: Stop, stage: RanksStage) -> tuple[list[str], float]:
    ended = running.ended()
    stopped_at, ended_at = ended.signalled, max(ended.ends)
    problems = [f"process {pid} is still there" for pid in ended.left()]
    problems += once(ended.told, f"for process {stop.rank}, which does not respond")
    problems += once(ended.told, "increase ALLMLP_TIMEOUT_S") + ["a traceback"] * ("Traceback" in ended.told)
    codes = {process.code for number, process in ended.attempts[0].items() if number != stop.rank}
    problems += [f"exit codes {codes}: {ended.output}"] * (7 not in codes or bool(codes - {7, None}))
    seconds = 0.0
    if not stop.restarts:
        seconds = round(ended_at - stopped_at, 1)
        problems += [f"{seconds} s from SIGSTOP to the end"] * (seconds > STOP_TIMEOUT_S + SHUTDOWN + 15.0)
        before, ended = ended, carried_out(running.run, Job(stop.processes), running.command)
        other = 0 if stop.rank else 1
        problems += _goes_on_badly(before.attempts[0][other].begun, ended.attempts[0][other].begun)
    return problems + not_the_same(running.run, stage.run(stop.kind, stop.processes)[0], ended), seconds


UNSAVED = Kind(save_every=None)


@dataclass(frozen=True)
class Signals:
    """Signals with their places and processes; the step whose save is the newest then, None where none can be."""

    faults: tuple[dict[str, Any], ...]
    step: int | None
    code: int = 143
    processes: int = 2
    kind: Kind = UNSAVED


def signalled(signals: Signals, stage: RanksStage, folder: Path) -> Outcome:
    """Tell one process or all to stop: all do, after the same step, with one save and the promised exit code."""
    run, shared = folder / "run", shared_memory()
    command, job = stage.command(run, signals.kind), Job(signals.processes)
    ended = carried_out(run, job, command, signals.faults)
    problems = _traces(run, shared, ended) + _badly_stopped(run, ended, signals)
    again = carried_out(run, job, command)
    if again.attempts:  # not where the first process had finished by the time that another one's signal ended the job
        begins = [process.begun[:1] for process in again.attempts[0].values()]
        expected = [] if signals.step == 10 else [(signals.step or 0) + 1]
        problems += [f"went on at {begins}"] * (begins != [expected] * signals.processes)
    reference = Kind(signals.kind.recipe, signals.kind.sharded)
    problems += not_the_same(run, stage.run(reference, signals.processes)[0], again)
    return Outcome.of(problems, seconds_to_end=round(max(ended.ends) - ended.signalled, 2))


def _badly_stopped(run: Path, ended: Ended, signals: Signals) -> list[str]:
    processes = ended.attempts[0].values()
    codes = [process.code for process in processes]
    good = (0,) * (signals.step == 10)  # one that had nothing left to do
    problems = [f"exit codes {codes}: {ended.output}{ended.told}"] * (
        signals.code not in codes or any(code not in (signals.code, None, *good) for code in codes)
    )
    # None: torchrun was faster than the interpreter's end. The first that goes decides what torchrun says.
    named = re.findall(r"exitcode: (-?\d+)", ended.output)
    problems += [f"torchrun's exit codes are {ended.codes}, and it names {named}"] * (
        ended.codes != [1] or not named or named[0] != str(signals.code)
    )
    problems += ["a traceback"] * ("Traceback" in ended.told)
    if signals.step != 10:  # then every step has been taken, and only scoring is left undone
        problems += once(ended.told, SAVED_ONCE if signals.step is not None else "Stopped before the first step")
    last = {process.begun[-1] if process.begun else 0 for process in processes}
    problems += [f"stopped after steps {last}"] * (last != {signals.step or 0})
    saves = sorted(save.name for save in (run / "resume").glob("*"))
    wanted = [] if signals.step is None else [f"step-{signals.step:09}"]
    return problems + [f"saved: {saves} instead of {wanted}"] * (saves != wanted)


def _traces(run: Path, shared: set[str], ended: Ended) -> list[str]:
    problems = [f"process {pid} is still there" for pid in ended.left()]
    problems += [f"left behind: {left}" for left in leftovers(run)]
    new = sorted(shared_memory() - shared)
    return problems + [f"left in {SHARED_MEMORY}: {name}" for name in new if not is_used(name)]


def torchrun_signalled(number: signal.Signals, stage: RanksStage, folder: Path) -> Outcome:
    """Signal torchrun, as a queue does before it takes the machine away."""
    run, shared, kind = folder / "run", shared_memory(), UNSAVED
    running = Running(run, Job(2), stage.command(run, kind), [fault("slow steps", 0, None)])
    running.wait_for("step 5", rank=0)
    running.signal_torchrun(number)
    signalled_at = time.time()
    ended = running.ended()
    problems = (
        _traces(run, shared, ended) + once(ended.told, SAVED_ONCE) + ["a traceback"] * ("Traceback" in ended.told)
    )
    codes = {process.code for process in ended.attempts[0].values()}
    problems += [f"exit codes {codes}"] * (codes != {128 + number}) + ["torchrun ended well"] * (ended.codes == [0])
    last = {process.begun[-1] for process in ended.attempts[0].values()}
    saves = [save.name for save in (run / "resume").glob("*")]
    problems += [f"steps {last}, saves {saves}"] * (saves != [f"step-{max(last):09}"] or len(last) != 1)
    again = carried_out(run, Job(2), stage.command(run, kind))
    problems += not_the_same(run, stage.run(TINY, 2)[0], again)
    return Outcome.of(problems, seconds_to_end=round(max(ended.ends) - signalled_at, 2))


def two_nodes(stage: RanksStage, folder: Path) -> Outcome:
    """Two torchruns that meet each other, two processes each: the same bits as four of one."""
    run = folder / "run"
    ended = carried_out(run, Job(4, nodes=2), stage.command(run))
    return Outcome.of(not_the_same(run, stage.run(TINY, 4)[0], ended), values=num_values(run))


def node_killed(node: int, stage: RanksStage, folder: Path) -> Outcome:
    """Kill torchrun and the processes of one machine: the other one ends soon, and says why. Then both are started again."""
    run, job = folder / "run", Job(4, nodes=2)
    running = Running(run, job, stage.command(run), [fault("slow steps", 0, None)])
    running.wait_for("step 5", rank=3)
    running.kill_node(node)
    killed_at = time.time()
    ended = running.ended()
    seconds = round(time.time() - killed_at, 2)
    problems = [f"process {pid} is still there" for pid in ended.left()]
    problems += [f"torchrun's exit codes: {ended.codes}"] * (
        ended.codes[node] != -signal.SIGKILL or ended.codes[1 - node] != 1
    )
    problems += once(ended.told, "lost the connection to another process") + ["a traceback"] * (
        "Traceback" in ended.told
    )
    problems += [f"{seconds} s from the kill to the end"] * (seconds > SHUTDOWN)
    again = carried_out(run, job, stage.command(run))
    problems += _goes_on_badly(ended.attempts[0][1].begun, again.attempts[0][0].begun)
    problems += not_the_same(run, stage.run(TINY, 4)[0], again)
    return Outcome.of(problems, seconds_to_end=seconds)


def _killed_cases() -> dict[str, Case]:
    while_first_saves = (fault("held save", 4, 0), fault("during another's save", 4, 1))
    twice = (fault("in step", 3, 1), fault("in evaluation", 7, 0, attempt=1))
    cases: dict[str, Any] = {
        "in a step (process 0 of 2)": {"faults": [fault("in step", 6, 0)]},
        "in a step (process 1 of 2)": {"faults": [fault("in step", 6, 1)]},
        "in a step (process 2 of 4)": {"faults": [fault("in step", 6, 2)], "processes": 4},
        "in a step (process 1 of 2, sharded)": {"faults": [fault("in step", 6, 1)], "kind": SHARDED},
        "in a step (process 0 of 2, sharded)": {"faults": [fault("in step", 6, 0)], "kind": SHARDED},
        "in a step (process 1 of 2, not forked)": {"faults": [fault("in step", 6, 1)], "real": True},
        "in a step (process 1 of 4, sharded)": {"faults": [fault("in step", 6, 1)], "kind": SHARDED, "processes": 4},
        "in a step (process 3 of 4 on two machines)": {"faults": [fault("in step", 6, 3)], "processes": 4, "nodes": 2},
        "before step 1 (process 1 of 2)": {"faults": [fault("before a step", 1, 1)]},
        "while reading photos (process 1 of 2)": {"faults": [fault("reading", 0, 1)]},
        "during evaluation (process 0 of 2)": {"faults": [fault("in evaluation", 7, 0)]},
        "during evaluation (process 1 of 2)": {"faults": [fault("in evaluation", 7, 1)]},
        "during evaluation (process 1 of 2, sharded)": {"faults": [fault("in evaluation", 7, 1)], "kind": SHARDED},
        "while saving (process 0 of 2)": {"faults": [fault("before a save has its name", 4, 0)]},
        "while saving (process 1 of 2, while the first one saves)": {"faults": while_first_saves},
        "while saving (process 1 of 2, while the first one saves, sharded)": {
            "faults": while_first_saves,
            "kind": SHARDED,
        },
        "during final scoring (process 1 of 2)": {"faults": [fault("scoring", 10, 1)]},
        "during final scoring (process 0 of 2)": {"faults": [fault("scoring", 10, 0)]},
        "twice (process 1 in a step, then process 0 during evaluation)": {"faults": twice},
    }
    cases["by SIGTERM (process 1 of 2)"] = {
        "faults": [fault("in step", 6, 1, "SIGTERM")]
    }  # torchrun makes no difference
    return {f"ranks: killed {name}": functools.partial(killed, **what) for name, what in cases.items()}


def _signal_cases() -> dict[str, Case]:
    term, interrupt = "SIGTERM", "SIGINT"
    saving = Kind(save_every=6)
    twice = (fault("in step", 6, 1, term), fault("during a save", 6, 0, interrupt))
    divided = Kind("comparable", sharded=True, save_every=None)
    cases = {
        "SIGTERM while reading photos (process 1)": Signals((fault("reading", 0, 1, term),), None),
        "SIGTERM before step 1 (process 0)": Signals((fault("beginning", 0, 0, term),), 0),
        "SIGTERM before step 1 (both)": Signals((fault("beginning", 0, None, term),), 0),
        "SIGTERM in a step (process 0)": Signals((fault("in step", 6, 0, term),), 6),
        "SIGTERM in a step (process 1)": Signals((fault("in step", 6, 1, term),), 6),
        "SIGTERM in a step (both)": Signals((fault("in step", 6, None, term),), 6),
        "SIGTERM in a step (process 3 of 4)": Signals((fault("in step", 6, 3, term),), 6, processes=4),
        "SIGTERM in a step (process 1, sharded)": Signals((fault("in step", 6, 1, term),), 6, kind=divided),
        "SIGTERM during evaluation (process 1)": Signals((fault("in evaluation", 7, 1, term),), 7),
        "SIGTERM during evaluation (both)": Signals((fault("in evaluation", 7, None, term),), 7),
        "SIGTERM during evaluation (process 1, sharded)": Signals(
            (fault("in evaluation", 7, 1, term),), 7, kind=divided
        ),
        "SIGTERM while saving (process 0)": Signals((fault("during a save", 6, 0, term),), 6, kind=saving),
        "SIGTERM twice (process 1 in a step, process 0 in the resulting save)": Signals(
            (fault("in step", 6, 1, term), fault("during a save", 6, 0, term)), 6
        ),
        "SIGTERM right after an agreement (process 1)": Signals((fault("after agreeing", 5, 1, term),), 6),
        "SIGTERM during final scoring (process 1)": Signals((fault("scoring", 10, 1, term),), 10),
        "SIGINT in a step (process 1)": Signals((fault("in step", 6, 1, interrupt),), 6, code=130),
        "SIGINT during evaluation (process 1)": Signals((fault("in evaluation", 7, 1, interrupt),), 7, code=130),
        "SIGINT while saving (process 0)": Signals(
            (fault("during a save", 6, 0, interrupt),), 6, code=130, kind=saving
        ),
        "SIGINT before step 1 (process 0)": Signals((fault("beginning", 0, 0, interrupt),), 0, code=130),
        "SIGTERM, then SIGINT (process 1 in a step, process 0 in the resulting save)": Signals(twice, 6),
    }
    return {f"ranks: {name}": functools.partial(signalled, signals) for name, signals in cases.items()}


CASES: dict[str, Case] = {
    **_killed_cases(),
    "ranks: SIGSTOP (in a step, during evaluation, sharded, restarted by torchrun)": functools.partial(stopped, STOPS),
    **_signal_cases(),
    "ranks: SIGTERM to torchrun (two processes)": functools.partial(torchrun_signalled, signal.SIGTERM),
    "ranks: SIGINT to torchrun (two processes)": functools.partial(torchrun_signalled, signal.SIGINT),
    "ranks: two machines (two processes each)": two_nodes,
    "ranks: two machines, one killed (the second)": functools.partial(node_killed, 1),
    "ranks: two machines, one killed (the first)": functools.partial(node_killed, 0),
}
