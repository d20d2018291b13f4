"""NaN at every kind of place: it never reaches the disk, and the run says what happened or goes on without the step."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tests.reliability.kill_matrix import outcome_of_the_end
from tests.reliability.ledger import Outcome
from tests.reliability.sessions import Ended, Setting, Stage, started

STEP = 7  # the last of an epoch: scoring and saving come right after it

# Each place of `faulty_values`, and what the message says of it.
PASSING = {"loss": "The loss became nan", "gradient": "gradient norm became nan", "image": "The loss became nan"}
LASTING = {
    "weight": "Found NaN or infinity in model/",
    "updated weight": "Found NaN or infinity in model/",
    "average": "Found NaN or infinity in average/",
    "optimizer state": "Found NaN or infinity in optimizer/",
}


@dataclass(frozen=True)
class Case:
    """NaN at a place, under "stop" or "skip"; `message` is what the run ends with, None when it goes on."""

    place: str
    policy: str
    message: str | None
    accumulation: int = 1

    @property
    def name(self) -> str:
        """What a table says."""
        return f"NaN in the {self.place} ({self.policy}, accumulation {self.accumulation})"


CASES = [
    Case(place, policy, message if policy == "stop" or place in LASTING else None)
    for (place, message), policy in itertools.product({**PASSING, **LASTING}.items(), ("stop", "skip"))
]
CASES += [Case("image", "stop", PASSING["image"], 3), Case("image", "skip", None, 3)]


def run(case: Case, stage: Stage, folder: Path) -> Outcome:
    """Inject it, look at what is on the disk, and continue where the run has ended."""
    path = folder / "run"
    setting = Setting(save_every=1, accumulation=case.accumulation, on_nonfinite=case.policy)
    command = stage.command(path, setting)
    ended = started(command, path, [{"place": case.place, "step": STEP}])
    spoilt, num_files = not_finite(path)
    problems = [f"not finite: {name}" for name in spoilt] + ["no file was looked at"] * (not num_files)
    if case.message is None:
        problems += _went_on(ended, path)
    else:
        problems += _ended_with(case.message, ended)
        end = outcome_of_the_end(command, path, stage.reference(setting), (STEP - 1,), problems)
        problems = end.problems
    return Outcome.of(problems, files_looked_at=num_files, not_finite=len(spoilt))


def not_finite(path: Path) -> tuple[list[str], int]:
    """Return the tensors on the disk that hold NaN or infinity, and the number of files that were looked at."""
    files = sorted(path.rglob("*.safetensors"))
    found = [
        f"{file.relative_to(path)}: {name}"
        for file in files
        for name, value in load_file(file).items()
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all()
    ]
    return found, len(files)


def _went_on(ended: Ended, path: Path) -> list[str]:
    problems = [f"exit code {ended.code}: {ended.output}"] * (ended.code != 0)
    if not problems:
        skipped = json.loads((path / "metrics.json").read_text())["num_skipped"]
        problems += [f"num_skipped is {skipped}"] * (skipped != 1)
        problems += [f"steps: {ended.steps}"] * (ended.steps != list(range(1, 11)))
    return problems


def _ended_with(message: str, ended: Ended) -> list[str]:
    problems = [f"exit code {ended.code}: {ended.output}"] * (ended.code != 2)
    problems += ["a traceback"] * ("Traceback" in ended.output)
    # Where gradients are clipped already, the advice is to skip the step.
    is_advised = "--set optimizer.learning_rate=" in ended.output and (
        "on_nonfinite=skip" in ended.output or "clip_norm" in ended.output
    )
    problems += [f"no advice: {ended.output}"] * (message not in ended.output or not is_advised)
    return problems
