"""An error on one process of several, before the loop and in it: all end soon, with one message; and what would train apart."""

import functools
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reliability.ledger import Outcome
from tests.reliability.ranks_sessions import Ended, Job, Running, carried_out
from tests.reliability.ranks_stage import SHARDED, TINY, Case, Kind, RanksStage, not_the_same, once
from tests.reliability.sessions import ROOT

LIMIT_S = 60.0  # of the issue; on this machine it takes a few seconds


@dataclass(frozen=True)
class Error:
    """What goes wrong on one process, what is reported of it, and the exit code; `step` is the one it goes wrong in."""

    place: str
    words: str
    code: int
    step: int = 0
    rank: int = 1
    kind: Kind = TINY
    processes: int = 2


def failed(error: Error, stage: RanksStage, folder: Path) -> Outcome:
    """Let it go wrong: it is reported once, all end at once, and the run goes on as if nothing had happened."""
    run = folder / "run"
    command, job = stage.command(run, error.kind), Job(error.processes)
    started = time.time()
    faults = [{"place": error.place, "step": error.step, "rank": error.rank}]
    ended = carried_out(run, job, command, faults)
    seconds = round(max(ended.ends) - started, 2)
    problems = _badly_told(ended, error.words, error.code, seconds)
    problems += ["the run was begun"] * (not error.step and run.exists() and any(run.iterdir()))
    again = carried_out(run, job, command)
    begun = [process.begun[0] for process in again.attempts[0].values()]
    problems += [f"went on with steps {begun}"] * (not all(error.step - 4 < step <= error.step + 1 for step in begun))
    problems += not_the_same(run, stage.run(error.kind, error.processes)[0], again)
    return Outcome.of(problems, seconds_in_all=seconds)


def _badly_told(ended: Ended, words: str, code: int, seconds: float) -> list[str]:
    problems = once(ended.told, words) + [f"process {pid} is still there" for pid in ended.left()]
    is_bug = code == 1  # whose traceback is wanted, once
    problems += [f"tracebacks: {ended.told}"] * (ended.told.count("Traceback (most recent") != int(is_bug))
    problems += [f"told more than once: {ended.told}"] * (ended.told.count("allmlp: ") != int(not is_bug))
    codes = {process.code for attempt in ended.attempts for process in attempt.values()}
    problems += [f"exit codes {codes}"] * (code not in codes or bool(codes - {code, None}))
    return problems + [f"{seconds} s to the end"] * (seconds > LIMIT_S)


def alike(arguments: tuple[str, ...], words: str, code: int, stage: RanksStage, folder: Path) -> Outcome:
    """An error that all processes find, each for itself, is reported once."""
    started = time.time()
    ended = carried_out(folder / "run", Job(4), [*stage.command(folder / "run"), *arguments])
    seconds = round(max(ended.ends) - started, 2)
    problems = once(ended.told, words) + [f"told more than once: {ended.told}"] * (ended.told.count("allmlp: ") != 1)
    named = f"exitcode: {code}" in ended.output
    return Outcome.of(
        problems + [ended.output] * (not named) + ["begun"] * (folder / "run").exists(), seconds_in_all=seconds
    )


def bad_photo(stage: RanksStage, folder: Path) -> Outcome:
    """Every process reads all photos; what cannot be read is reported once."""
    from tests.training.small_runs import write_photos

    photos = write_photos(folder / "photos")
    (photos / "train" / "red" / "03.png").write_bytes(b"no photo")
    started = time.time()
    ended = carried_out(folder / "run", Job(2), stage.command(folder / "run", photos=photos))
    seconds = round(max(ended.ends) - started, 2)
    return Outcome.of(_badly_told(ended, "red/03.png", 3, seconds), seconds_in_all=seconds)


def unlike_commands(stage: RanksStage, folder: Path) -> Outcome:
    """Two machines whose commands and photos differ: both report what differs, before anything is written."""
    from tests.training.small_runs import write_photos

    run, photos = folder / "run", write_photos(folder / "other", per_class=13, splits=("train",))
    write_photos(photos, per_class=24, splits=("val",))
    theirs = [*stage.command(run, photos=photos), "--set", "optimizer.learning_rate=0.03", "--seed", "5"]
    started = time.time()
    ended = Running(run, Job(2, nodes=2), stage.command(run), commands={1: theirs}).ended()
    seconds = round(max(ended.ends) - started, 2)
    problems = _badly_told(ended, "would not train the same model", 2, seconds)
    problems += once(ended.told, "recipe: optimizer.learning_rate: 0.02 on process 0, 0.03 on process 1")
    problems += once(ended.told, "recipe: seed: 0 on process 0, 5 on process 1") + once(
        ended.told, "photos: train: 42,"
    )
    return Outcome.of(problems + ["the run was begun"] * run.exists(), seconds_in_all=seconds)


def unshared_folder(stage: RanksStage, folder: Path) -> Outcome:
    """Two machines, each with a disk of its own for the run folder: found out at the start, not when all is trained."""
    folders = folder / "one", folder / "other"
    for each in folders:
        each.mkdir()
    command = stage.command(Path("run"))
    started = time.time()
    ended = Running(folder / "run", Job(2, nodes=2), command, cwd=folders[0], folders={1: folders[1]}).ended()
    seconds = round(max(ended.ends) - started, 2)
    return Outcome.of(_badly_told(ended, "on a disk that all machines share", 2, seconds), seconds_in_all=seconds)


def busy_port(_stage: RanksStage, folder: Path) -> Outcome:
    """Started by hand, at a port where another program listens and says nothing."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ALLMLP_TIMEOUT_S": "5"}
        variables["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        command = [
            sys.executable,
            "-m",
            "allmlp",
            "train",
            "clothing",
            "--recipe",
            "demo",
            "--out",
            str(folder / "run"),
        ]
        started = time.monotonic()
        processes = [
            subprocess.Popen(
                command, env={**os.environ, **variables, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True
            )
            for rank in range(2)
        ]
        told = [process.communicate(timeout=2 * LIMIT_S)[1] for process in processes]
    seconds = round(time.monotonic() - started, 1)
    problems = [
        text
        for text in told
        if f"could not connect to the others at 127.0.0.1:{port}" not in text or "Traceback" in text
    ]
    problems += [str(process.returncode) for process in processes if process.returncode != 2]
    return Outcome.of(problems + [f"{seconds} s"] * (seconds > LIMIT_S), seconds_in_all=seconds)


BUG, GONE = "ValueError: something that nobody thought of", "this photo has gone"
ERRORS: dict[str, Error] = {
    "before the loop (a bug on process 1 of 2)": Error("a bug before the loop", BUG, 1),
    "before the loop (a bug on process 0 of 4)": Error("a bug before the loop", BUG, 1, rank=0, processes=4),
    "in a step (a bug on process 1 of 2)": Error("a bug in a step", BUG, 1, 6),
    "in a step (a bug on process 0 of 2)": Error("a bug in a step", BUG, 1, 6, rank=0),
    "in a step (a bug on process 2 of 4)": Error("a bug in a step", BUG, 1, 6, rank=2, processes=4),
    "in a step (a bug on process 1 of 2, sharded)": Error("a bug in a step", BUG, 1, 6, kind=SHARDED),
    "in a step (a photo missing on process 1 of 2)": Error("a photo has gone", GONE, 3, 6),
    "in a step (a photo missing on process 1 of 2, sharded)": Error("a photo has gone", GONE, 3, 6, kind=SHARDED),
    "during evaluation (a bug on process 1 of 2)": Error("a bug in evaluation", BUG, 1, 7),
}
UNLIKE = {
    "another version on process 1": Error("another version", "numpy: 2", 2),
    "another setting on process 1": Error(
        "another setting", "recipe: ema_decay: 0.9 on process 0, 0.5 on process 1", 2
    ),
    "other photos on process 1": Error("other photos", "photos: train: ", 2),
}


def unlike(error: Error, stage: RanksStage, folder: Path) -> Outcome:
    """One process is about to train something else: refused by all, with what differs."""
    run, started = folder / "run", time.time()
    ended = carried_out(run, Job(2), stage.command(run), [{"place": error.place, "step": 0, "rank": 1}])
    seconds = round(max(ended.ends) - started, 2)
    problems = _badly_told(ended, error.words, error.code, seconds) + once(ended.told, "would not train the same model")
    return Outcome.of(problems + ["the run was begun"] * run.exists(), seconds_in_all=seconds)


ALIKE: dict[str, Any] = {
    "unknown setting": (("--set", "optimizer.learnig_rate=1"), "learnig_rate", 2),
    "indivisible batch size": (("--set", "batch_size=14"), "cannot be divided among 4 processes", 2),
}
CASES: dict[str, Case] = {
    **{f"ranks: error {name}": functools.partial(failed, error) for name, error in ERRORS.items()},
    **{f"ranks: same error on all processes ({name})": functools.partial(alike, *what) for name, what in ALIKE.items()},
    "ranks: same error on all processes (unreadable photo)": bad_photo,
    **{
        f"ranks: processes that would not train the same model ({name})": functools.partial(unlike, error)
        for name, error in UNLIKE.items()
    },
    "ranks: processes that would not train the same model (other commands and photos on two machines)": unlike_commands,
    "ranks: run folder not shared by the machines (two machines)": unshared_folder,
    "ranks: port in use by another program (started by hand)": busy_port,
}
