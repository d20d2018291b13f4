"""Mutated photos are decoded or refused in one line: a sample here, a hundred thousand as slow tests."""

import pytest
from tests.reliability import photos_matrix
from tests.reliability.ledger import Ledger
from tests.reliability.photos_matrix import CASES, NUM_MUTATIONS, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mutated_photo_is_decoded_or_refused_in_one_line(case: Case) -> None:
    assert not photos_matrix.run(case, num_mutations=25).problems


def test_a_hundred_thousand_photos_are_mutated() -> None:
    assert NUM_MUTATIONS * len(CASES) >= 100_000


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_mutated_photo_is_decoded_or_refused_in_one_line(case: Case, ledger: Ledger) -> None:
    outcome = ledger.run(f"photos: {case.name}", lambda: photos_matrix.run(case))
    assert outcome is None or not outcome.problems
