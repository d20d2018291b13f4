"""Alternated rounds: contestants take turns, so that drift of the machine affects all of them equally."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

__all__ = ["alternated_rounds", "ratios_of"]

# Before a turn: threads of the contestant before may still wait actively for work, those of ONNX Runtime for long.
_PAUSE = 0.1
_MIN_SECONDS = 0.02  # of a turn: a shorter call is repeated, because the clock would count too much
_MAX_SECONDS_UNTIMED = (
    0.1  # a turn begins with a call that does not count, which finds caches and threads cold, if it is short
)


def alternated_rounds(
    calls: Mapping[str, Callable[[], object]],
    *,
    num_rounds: int,
    seconds: float,
    min_rounds: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds per call of each contestant, one number per round.

    Each round begins with another contestant. There are `num_rounds` rounds, or fewer if they would take longer than `seconds`,
    but at least `min_rounds`. Every contestant should have been called before, to warm up.
    """
    names = list(calls)
    started = clock()
    repeats, durations = {}, {}
    for name, call in calls.items():
        before = clock()
        call()
        durations[name] = clock() - before
        repeats[name] = max(1, round(_MIN_SECONDS / max(durations[name], 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in names}
    first_round = clock()
    for number in range(num_rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(_PAUSE)
            if durations[name] < _MAX_SECONDS_UNTIMED:
                calls[name]()
            before = clock()
            for _ in range(repeats[name]):
                calls[name]()
            times[name].append((clock() - before) / repeats[name])
        now = clock()
        if number + 1 >= min_rounds and now - started + (now - first_round) / (number + 1) > seconds:
            break
    return times


def ratios_of(times: Mapping[str, Sequence[float]], name: str, reference: str) -> float:
    """Return how many times as fast as `reference` a contestant is: the median of the ratios of the rounds."""
    pairs = zip(times[reference], times[name], strict=True)
    return statistics.median(theirs / ours for theirs, ours in pairs)
