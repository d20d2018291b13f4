"""A resumed run has the best weights of its history: a sample here, all kills as slow tests."""

from pathlib import Path

import pytest
from tests.reliability import best_matrix
from tests.reliability.best_matrix import CASES, RANDOM_CASES
from tests.reliability.ledger import Ledger
from tests.reliability.sessions import Stage

SAMPLE = ("best: failed once, then killed (step 7; in step 9)",)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_killed_run_that_could_not_write_its_best_has_it_in_the_end(name: str, stage: Stage, tmp_path: Path) -> None:
    assert not CASES[name](stage, tmp_path).problems


def test_snapshots_without_the_best_are_seen(stage: Stage, tmp_path: Path) -> None:
    assert not best_matrix.control(stage, tmp_path).problems


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, *RANDOM_CASES])
def test_every_killed_run_has_its_best_in_the_end(name: str, stage: Stage, ledger: Ledger, tmp_path: Path) -> None:
    outcome = ledger.run(name, lambda: {**CASES, **RANDOM_CASES}[name](stage, tmp_path))
    assert outcome is None or not outcome.problems


@pytest.mark.slow
def test_the_best_in_snapshots_is_what_the_comparison_needs(stage: Stage, ledger: Ledger, tmp_path: Path) -> None:
    outcome = ledger.run("control: snapshots without the best", lambda: best_matrix.control(stage, tmp_path))
    assert outcome is None or not outcome.problems
