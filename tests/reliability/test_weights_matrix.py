"""Damaged and forged weight files: a sample here, 20,000 as slow tests."""

from pathlib import Path

import pytest
from tests.reliability import weights_matrix
from tests.reliability.ledger import Ledger
from tests.reliability.weights_matrix import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_damaged_file_ends_in_numbers_or_in_one_clear_error(case: Case, tmp_path: Path) -> None:
    assert weights_matrix.run(case, tmp_path, count=25).problems == []


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_damaged_file_ends_in_numbers_or_in_one_clear_error(case: Case, ledger: Ledger, tmp_path: Path) -> None:
    outcome = ledger.run(f"weights: {case.name}", lambda: weights_matrix.run(case, tmp_path))
    assert outcome is None or not outcome.problems
