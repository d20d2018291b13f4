"""A run that was killed, continued, equals one that nothing happened to: a sample here, all of them as slow tests."""

from pathlib import Path

import pytest
from tests.reliability import kill_matrix
from tests.reliability.kill_matrix import CASES, Case
from tests.reliability.ledger import Ledger
from tests.reliability.sessions import Stage

CONTROLS = ("resume without the step", "resume without the state")
SAMPLE = [
    case
    for case in CASES
    if case.name
    in (
        "middle of an epoch (stream, float32, accumulation 1)",
        "while saving a snapshot (memory, float32, accumulation 1)",
        "before writing the recipe (memory, float32, accumulation 1)",
    )
]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_a_killed_run_ends_as_if_nothing_had_happened(case: Case, stage: Stage, tmp_path: Path) -> None:
    assert not kill_matrix.run(case, stage, tmp_path).problems


def test_a_resume_that_forgets_where_it_was_is_seen(stage: Stage, tmp_path: Path) -> None:
    assert not kill_matrix.control("resume without the step", stage, tmp_path).problems


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_killed_run_ends_as_if_nothing_had_happened(
    case: Case, stage: Stage, ledger: Ledger, tmp_path: Path
) -> None:
    outcome = ledger.run(f"kill: {case.name}", lambda: kill_matrix.run(case, stage, tmp_path))
    assert outcome is None or not outcome.problems


@pytest.mark.slow
@pytest.mark.parametrize("fault", CONTROLS)
def test_every_resume_that_forgets_is_seen(fault: str, stage: Stage, ledger: Ledger, tmp_path: Path) -> None:
    outcome = ledger.run(f"control: {fault}", lambda: kill_matrix.control(fault, stage, tmp_path))
    assert outcome is None or not outcome.problems
