"""What is not a number never reaches the disk: a sample here, all of them as slow tests."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.reliability import nonfinite_matrix
from tests.reliability.ledger import Ledger
from tests.reliability.nonfinite_matrix import CASES, Case, not_finite
from tests.reliability.sessions import Stage

SAMPLE = [case for case in CASES if (case.place, case.policy) == ("updated weight", "stop")]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_what_is_not_finite_is_never_saved(case: Case, stage: Stage, tmp_path: Path) -> None:
    assert not nonfinite_matrix.run(case, stage, tmp_path).problems


def test_a_file_that_holds_nan_is_found(tmp_path: Path) -> None:
    save_file({"weight": np.array([1.0, np.nan], np.float32)}, tmp_path / "state.safetensors")
    assert not_finite(tmp_path) == (["state.safetensors: weight"], 1)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_that_is_not_finite_is_ever_saved(case: Case, stage: Stage, ledger: Ledger, tmp_path: Path) -> None:
    outcome = ledger.run(f"nonfinite: {case.name}", lambda: nonfinite_matrix.run(case, stage, tmp_path))
    assert outcome is None or not outcome.problems
