"""Many processes end and go on as one that nothing happened to: a sample here, all of them as slow tests."""

from pathlib import Path

import pytest
from tests.reliability import ranks_error_matrix, ranks_job_matrix, ranks_numbers_matrix
from tests.reliability.ledger import Ledger
from tests.reliability.ranks_stage import RanksStage

CONTROLS = ranks_numbers_matrix.CONTROLS
CASES = {**ranks_numbers_matrix.CASES, **ranks_job_matrix.CASES, **ranks_error_matrix.CASES}
# Without those that test_process_group.py has too: a signal, and another number of processes after it.
SAMPLE = (
    "ranks: NaN on one process of two (weight of one process, skip, process 1)",
    "ranks: killed twice (process 1 in a step, then process 0 during evaluation)",
    "ranks: two machines (two processes each)",
    "ranks: error in a step (a photo missing on process 1 of 2)",
    "ranks: processes that would not train the same model (another setting on process 1)",
)


@pytest.mark.parametrize("name", SAMPLE)
def test_many_processes_end_and_go_on_as_one(name: str, ranks_stage: RanksStage, tmp_path: Path) -> None:
    assert not CASES[name](ranks_stage, tmp_path).problems


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, *CONTROLS])
def test_many_processes_always_end_and_go_on_as_one(
    name: str, ranks_stage: RanksStage, ledger: Ledger, tmp_path: Path
) -> None:
    case = {**CASES, **CONTROLS}[name]
    outcome = ledger.run(name, lambda: case(ranks_stage, tmp_path))
    assert outcome is None or not outcome.problems
