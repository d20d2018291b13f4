"""Many processes compute what one computes: other numbers of them in between, any number of photos to score, NaN on one."""

import functools
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tests.reliability.ledger import Outcome
from tests.reliability.nonfinite_matrix import not_finite
from tests.reliability.ranks_sessions import Job, Step, carried_out
from tests.reliability.ranks_stage import (
    LONG,
    NUM_LONG_STEPS,
    SHARDED,
    TINY,
    Case,
    Kind,
    RanksStage,
    not_parted,
    not_the_same,
    num_values,
    once,
    steps_of,
)
from tests.reliability.sessions import Faults

SAVED = 20  # the step after which the long runs are stopped
TOLERANCE = 1e-5  # of each step's loss, relative: sums in another order, over some 50 steps of AdamW
LONG_SHARDED = Kind("comparable", sharded=True, num_epochs=15, save_every=20)
NONFINITE_STEP = 7  # the last of an epoch: scoring and saving come right after it


def changed(
    before: Kind,
    after: Kind,
    processes: int,
    stage: RanksStage,
    folder: Path,
    *,
    faults: Faults = (),
    begins: int = SAVED,
) -> Outcome:
    """Save on four processes, go on with another number, and compare every step with one process that never stopped."""
    run = folder / "run"
    first = stage.stopped(before, 4, SAVED, run)
    second = carried_out(run, Job(processes), stage.command(run, after), faults)
    if second.codes != [0]:
        return Outcome.of([f"exit codes {second.codes}: {second.output}{second.told}"])
    reference, alone = stage.run(LONG, 1)
    steps = [{**ours, **theirs} for ours, theirs in itertools.product(steps_of(first)[:1], steps_of(second))]
    problems = not_parted(first) + not_parted(second)
    for rank, process in sorted(second.attempts[-1].items()):
        problems += [f"process {rank} began {process.begun}"] * (process.begun != list(range(begins + 1, 53)))
    difference, differing = _compare(steps, steps_of(alone)[0])
    digests = [json.loads((path / "metrics.json").read_text())["sample_digest"] for path in (run, reference)]
    problems += differing + ["another digest of the samples"] * (digests[0] != digests[1])
    return Outcome.of(problems, largest_difference=difference)


def _compare(ranks: list[dict[int, Step]], alone: dict[int, Step]) -> tuple[float, list[str]]:
    """Return the largest relative difference of a step's loss, and what differs by more than rounding."""
    problems = [f"only steps {sorted(steps)}" for steps in ranks if len(steps) != NUM_LONG_STEPS]
    difference = 0.0
    for steps, number in itertools.product(ranks, sorted(alone)):
        if number not in steps:
            continue
        if steps[number].batch != alone[number].batch:
            problems.append(f"step {number} has other samples")
        difference = max(difference, abs(steps[number].loss / alone[number].loss - 1.0))
    return difference, problems + [f"losses differ by {difference:.1e} of themselves"] * (difference >= TOLERANCE)


def control(fault: str, stage: RanksStage, folder: Path) -> Outcome:
    """Go on with a fault on every process that has to be seen. It passes when the problems are not empty."""
    faults = [{"place": fault, "step": 0}]
    outcome = changed(LONG, LONG, 2, stage, folder, faults=faults)
    seen = [problem for problem in outcome.problems if not problem.startswith("exit code")]
    return Outcome.of([] if seen else [f"{fault} was not seen: {outcome}"])


# Processes, and whether the weights are divided among them.
WAYS = ((2, False), (3, False), (3, True), (4, False))


def scored(count: int, ways: tuple[tuple[int, bool], ...], stage: RanksStage, folder: Path) -> Outcome:
    """Score the same weights on one process and on several: `count` photos for validation, and as many for the test."""
    photos, num_steps = stage.scored_photos(count)
    kind, base = Kind("comparable", num_epochs=1, save_every=None), folder / "base"
    command = [*stage.command(base, kind, photos=photos), "--set", "data.holdout=0.05"]
    stop = [{"place": "in step", "step": num_steps, "signal": "SIGTERM"}]  # the last: what is left is to score
    told = carried_out(base, Job(1), command, stop).told
    assert (base / "resume" / f"step-{num_steps:09}").is_dir(), told
    found: list[dict[str, Any]] = []
    problems = []
    for processes, sharded in ((1, False), *ways):
        run = folder / f"{processes}-{sharded}"
        shutil.copytree(base, run)
        options = ["--resume", str(run), "--set", f"sharded={str(sharded).lower()}"]
        ended = carried_out(run, Job(processes), [*command, *options])
        if ended.codes != [0]:
            return Outcome.of([f"exit codes {ended.codes}: {ended.output}{ended.told}"])
        assert not any(process.begun for process in ended.attempts[0].values())
        values = json.loads((run / "metrics.json").read_text())["evaluations"]
        row = (run / "results.csv").read_text().splitlines()[-1].split(",")
        found.append({**values, "while training": {"loss": float(row[5]), "top1": float(row[6])}})
    for way, values in zip(ways, found[1:], strict=True):
        problems += [f"{way}: {problem}" for problem in _scores_differ(values, found[0], count)]
    return Outcome(problems, cases=len(ways), passed=len(ways) * (not problems), figures={"same_scores": len(ways)})


def _scores_differ(values: dict[str, Any], alone: dict[str, Any], count: int) -> list[str]:
    problems = [
        f"{split}: {values[split]['num_examples']} photos"
        for split in values.keys() & {"validation", "test"}
        if values[split]["num_examples"] != count
    ]
    for split in values:
        loss, theirs = values[split]["loss"], alone[split]["loss"]
        problems += [f"{split}: loss {loss}, not {theirs}"] * (not np.isclose(loss, theirs, rtol=1e-6, atol=0.0))
        top1, theirs = values[split]["top1"], alone[split]["top1"]
        problems += [f"{split}: top-1 {top1}, not {theirs}"] * (top1 != theirs)
    return problems


# NaN of one process: what the message says of it; None where it lasts, so that skipping a step cannot help.
PASSING = {"loss": "The loss became nan", "gradient of the loss": "gradient norm became nan"}
PASSING |= {"gradient": "gradient norm became nan", "image": "The loss became nan"}
LASTING = {"weight of one process": "Found NaN or infinity in model/"}


def nonfinite(place: str, policy: str, kind: Kind, rank: int, stage: RanksStage, folder: Path) -> Outcome:
    """NaN on one of two processes: all decide alike, nothing of it is saved, and it is reported once."""
    run = folder / "run"
    command = [*stage.command(run, Kind(kind.recipe, kind.sharded, save_every=1)), "--on-nonfinite", policy]
    ended = carried_out(run, Job(2), command, [{"place": place, "step": NONFINITE_STEP, "rank": rank}])
    spoilt, num_files = not_finite(run)
    problems = [f"not finite: {name}" for name in spoilt] + ["no file was looked at"] * (not num_files)
    processes = ended.attempts[0].values()
    problems += [f"they took other steps: {[each.begun for each in processes]}"] * (len({*map(_begun, processes)}) != 1)
    if policy == "skip" and place in PASSING:
        problems += [f"exit codes {ended.codes}: {ended.told}"] * (ended.codes != [0])
        if not problems:
            metrics, theirs = (json.loads((path / "metrics.json").read_text()) for path in (run, stage.run(kind, 2)[0]))
            problems += [f"{metrics['num_skipped']} skipped"] * (metrics["num_skipped"] != 1)
            problems += ["other samples"] * (metrics["sample_digest"] != theirs["sample_digest"])
        return Outcome.of(problems, files_looked_at=num_files, not_finite=len(spoilt))
    problems += once(ended.told, {**PASSING, **LASTING}[place]) + ["a traceback"] * ("Traceback" in ended.told)
    problems += [f"exit codes {_codes(processes)}"] * (
        2 not in _codes(processes) or bool(_codes(processes) - {2, None})
    )
    again = carried_out(run, Job(2), command)
    problems += not_the_same(run, stage.run(kind, 2)[0], again)
    return Outcome.of(problems, files_looked_at=num_files, not_finite=len(spoilt))


def _begun(process: Any) -> tuple[int, ...]:
    return tuple(process.begun)


def _codes(processes: Any) -> set[int | None]:
    """Return the exit codes; None stands for one that torchrun ended when another was faster."""
    return {process.code for process in processes}


def same_bits(kind: Kind, processes: int, stage: RanksStage, folder: Path) -> Outcome:
    """Two undisturbed runs on as many processes: what all comparisons of bits rest on."""
    run = folder / "run"
    ended = carried_out(run, Job(processes), stage.command(run, kind))
    reference, _ = stage.run(kind, processes)
    return Outcome.of(not_the_same(run, reference, ended) + not_parted(ended), values=num_values(run))


def _name(kind: Kind, processes: int) -> str:
    return f"{'sharded across' if kind.sharded and processes > 1 else 'on'} {processes}"


def _changed_cases() -> dict[str, Case]:
    ways = [(LONG, LONG, 1), (LONG, LONG, 2), (LONG, LONG, 4), (LONG, LONG_SHARDED, 2)]
    ways += [(LONG_SHARDED, LONG, 1), (LONG_SHARDED, LONG, 2), (LONG_SHARDED, LONG_SHARDED, 2)]
    ways += [(LONG_SHARDED, LONG_SHARDED, 4)]
    prefix = "ranks: saved by 4, resumed by another number of processes"
    return {
        f"{prefix} ({_name(before, 4)}, then {_name(after, processes)})": functools.partial(
            changed, before, after, processes
        )
        for before, after, processes in ways
    }


def _scored_cases() -> dict[str, Case]:
    cases = dict.fromkeys((7, 5, 3, 2, 1), WAYS) | {70: WAYS[2:]}
    return {
        f"ranks: scores, number of photos not divisible by processes ({n} photos)": functools.partial(scored, n, ways)
        for n, ways in cases.items()
    }


def _nonfinite_cases() -> dict[str, Case]:
    cases = [
        (place, policy, TINY, 1) for (place, policy) in itertools.product({**PASSING, **LASTING}, ("stop", "skip"))
    ]
    cases += [("loss", "stop", TINY, 0), ("weight of one process", "skip", TINY, 0)]
    cases += [(place, "stop", SHARDED, 1) for place in ("loss", "weight of one process")]
    cases += [("gradient of the loss", "skip", SHARDED, 1)]
    return {
        f"ranks: NaN on one process of two ({place}, {policy}, process {rank}{', sharded' if kind.sharded else ''})": (
            functools.partial(nonfinite, place, policy, kind, rank)
        )
        for place, policy, kind, rank in cases
    }


CONTROL_FAULTS = ("resume without the step", "resume without the state")
CONTROL_FAULTS += ("whole batch on every process", "same part on every process")
CONTROLS: dict[str, Case] = {
    f"control: {fault} (two processes)": functools.partial(control, fault) for fault in CONTROL_FAULTS
}
CASES: dict[str, Case] = {
    **{
        f"ranks: same bits in two runs ({_name(kind, processes)})": functools.partial(same_bits, kind, processes)
        for kind, processes in ((TINY, 2), (TINY, 4), (SHARDED, 2), (SHARDED, 4))
    },
    **_changed_cases(),
    **_scored_cases(),
    **_nonfinite_cases(),
}
