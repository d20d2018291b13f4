"""5,000 mutated zips, tables and Parquet files of photos: no crash, no foreign exception, bounded time and memory."""

from pathlib import Path

import pytest
from tests.reliability.containers_matrix import KINDS, in_child, try_all
from tests.reliability.ledger import Ledger, Outcome

CASES = [
    (kind, first) for kind, count in zip(KINDS, (1_500, 500, 3_000), strict=True) for first in range(0, count, 500)
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_mutated_containers_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    assert not [problem for problem in try_all(kind, 10_000, 10_020, tmp_path)["problems"] if "kB" not in problem]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "first"), CASES)
def test_every_mutated_container_is_read_or_refused(kind: str, first: int, ledger: Ledger, tmp_path: Path) -> None:
    def case() -> Outcome:
        result = in_child(kind, first, first + 500, tmp_path)
        problems = result.pop("problems")
        return Outcome(problems=problems, cases=500, passed=max(0, 500 - len(problems)), figures=result)

    outcome = ledger.run(f"containers: mutated {kind} files {first:,} to {first + 499:,}", case)
    assert outcome is None or not outcome.problems
