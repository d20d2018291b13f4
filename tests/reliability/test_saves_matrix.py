"""Power cuts and damage, whole: samples of these are in tests/training/test_saves*.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reliability import saves_matrix
from tests.reliability.ledger import Ledger, Outcome
from tests.reliability.saves_matrix import Counts

CASES: dict[str, Callable[[Path], Counts]] = {
    "power cut after every disk operation (two older snapshots)": saves_matrix.crash_points,
    "power cut after every disk operation (one older snapshot)": lambda path: saves_matrix.crash_points(
        path, before=(100,)
    ),
    "power cut after every disk operation (the first snapshot)": lambda path: saves_matrix.crash_points(
        path, before=()
    ),
    "one bit flipped (1,000 draws)": lambda path: saves_matrix.bit_flips(path, 1000),
    "one bit flipped (every bit of the manifest)": saves_matrix.manifest_bits,
    "a file truncated (200 draws)": lambda path: saves_matrix.truncations(path, 200),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_power_cut_and_damage_leaves_a_save_that_is_used(name: str, ledger: Ledger, tmp_path: Path) -> None:
    def case() -> Outcome:
        cases, passed = CASES[name](tmp_path)
        return Outcome(problems=[f"{cases - passed} failed"] * (cases != passed), cases=cases, passed=passed)

    outcome = ledger.run(f"snapshots: {name}", case)
    assert outcome is None or not outcome.problems
