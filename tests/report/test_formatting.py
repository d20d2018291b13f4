"""Facts about numbers and times on a page."""

import math

import pytest

from allmlp.report.formatting import count, duration, number, percent


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (252, "4 min 12 s"),
        (3599.6, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (90061, "25 h 01 min"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_a_duration_reads_in_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text.replace(" ", "\u00a0")


def test_numbers_that_were_not_measured_are_dashes() -> None:
    assert [percent(0.6724), percent(math.nan)] == ["67.2\u00a0%", "–"]
    assert [number(1234.5678), number(2, digits=0), number(math.inf)] == ["1,234.568", "2", "–"]
    assert count(50_000) == "50,000"
