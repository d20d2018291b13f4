"""A mean in words: the spread is that of several seeds only."""

from allmlp.provenance import spread
from allmlp.studies.spreads import mean_and_std


def test_one_seed_has_no_standard_deviation() -> None:
    assert mean_and_std(spread([0.5]), scale=100) == "50.0"
    assert mean_and_std(spread([0.5, 0.5]), scale=100) == "50.0 ± 0.0"
    assert mean_and_std(spread([1.0, 3.0]), 2, signed=True) == "+2.00 ± 1.41"
    assert mean_and_std(spread([-1.5]), signed=True) == "-1.5"
