"""A run that is told to stop finishes its step, saves once and goes: a sample here, all of them as slow tests."""

from pathlib import Path

import pytest
from tests.reliability import signal_matrix
from tests.reliability.ledger import Ledger
from tests.reliability.sessions import Stage
from tests.reliability.signal_matrix import CASES, Case

SAMPLE = [case for case in CASES if case.name in ("SIGTERM during evaluation", CASES[-2].name)]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_a_signal_ends_a_run_saved_once_at_one_step(case: Case, stage: Stage, tmp_path: Path) -> None:
    assert not signal_matrix.run(case, stage, tmp_path).problems


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_signal_ends_a_run_saved_once_at_one_step(
    case: Case, stage: Stage, ledger: Ledger, tmp_path: Path
) -> None:
    outcome = ledger.run(f"signal: {case.name}", lambda: signal_matrix.run(case, stage, tmp_path))
    assert outcome is None or not outcome.problems
