"""Alternated rounds, with a clock that only the contestants advance."""

import pytest

from allmlp.bench import alternated_rounds, ratios_of


class Race:
    """Contestants that take a known time; `slowdown` multiplies it in each round, as another program would."""

    def __init__(self, **seconds: float) -> None:
        self.now = 0.0
        self.order: list[str] = []
        self.calls = {name: self._contestant(name, duration) for name, duration in seconds.items()}
        self.drift = 1.0

    def _contestant(self, name: str, duration: float):
        def call() -> None:
            self.order.append(name)
            self.now += duration * self.drift

        return call

    def clock(self) -> float:
        return self.now


def test_each_round_has_a_turn_of_each_and_begins_with_another():
    race = Race(a=1.0, b=2.0, c=4.0)
    times = alternated_rounds(race.calls, num_rounds=3, seconds=1000, clock=race.clock)
    assert times == {"a": [1.0] * 3, "b": [2.0] * 3, "c": [4.0] * 3}
    assert "".join(race.order) == "abc" + "abc" + "bca" + "cab"


def test_rounds_stop_before_the_time_is_over_but_not_before_the_minimum():
    race = Race(a=1.0, b=1.0)
    assert len(alternated_rounds(race.calls, num_rounds=50, seconds=20, clock=race.clock)["a"]) == 9
    assert race.now <= 20
    assert len(alternated_rounds(race.calls, num_rounds=50, seconds=0, min_rounds=4, clock=race.clock)["a"]) == 4


def test_a_short_call_is_repeated_within_its_turn():
    race = Race(a=0.001, b=1.0)
    times = alternated_rounds(race.calls, num_rounds=2, seconds=1000, clock=race.clock)
    assert times["a"] == pytest.approx([0.001, 0.001])
    assert race.order.count("a") == 1 + 2 * (1 + 20)  # each turn begins with a call that does not count


def test_a_ratio_is_the_median_of_the_rounds_so_that_drift_cancels():
    times = {"ours": [1.0, 10.0, 2.0], "theirs": [2.0, 20.0, 3.0]}
    assert ratios_of(times, "ours", "theirs") == 2.0
    assert ratios_of(times, "theirs", "ours") == 0.5
