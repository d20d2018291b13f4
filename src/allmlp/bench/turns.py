"""The contestants of one batch size: opened, measured in alternated rounds, and written as rows."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from allmlp.bench.contestants import Contestant, Images, Opened
from allmlp.bench.matrix_product import matrix_product
from allmlp.bench.rounds import alternated_rounds, ratios_of
from allmlp.hardware.memory import free_memory
from allmlp.io.display import Report
from allmlp.model import MixerConfig, num_multiply_adds, num_parameters
from allmlp.provenance import spread

__all__ = ["REFERENCE", "measured_rows"]

REFERENCE = "timm-eager, float32"
"""What all precisions are compared with, if it takes part."""

_MIN_SECONDS_TO_COMPILE = 90.0
_SHARE_OF_ROUNDS = 0.3  # of the time for a batch size; contestants are opened before
_COPIES_OF_WEIGHTS = 4  # in float32, that an engine may need while it opens a model


def measured_rows(
    contestants: Sequence[Contestant],
    config: MixerConfig,
    batch_size: int,
    *,
    end: float,
    share: float,
    rounds: tuple[int, int],
    limits: Mapping[str, list[float]],
    left_out: dict[str, str],
    report: Report,
    clock: Callable[[], float],
) -> list[dict[str, Any]]:
    """Return one row per contestant that could be measured before `end`; why the others were not goes to `left_out`.

    `share` is the time for this batch size, in seconds; `rounds` is the least and the largest number of rounds. The
    products of large matrices in the precisions of `limits` take turns, too: their GFLOP/s of each round are added to it.
    """
    # In little time, what the others are compared with is measured, and what takes a minute to compile is not.
    first = {REFERENCE, *(contestant.label for contestant in contestants[:1])}
    group = sorted(
        contestants, key=lambda each: (each.is_compiled, each.label not in first, each.is_compiled and not each.is_peer)
    )
    times_of_opening = _Times(end - _SHARE_OF_ROUNDS * share, end, rounds[0])
    opened = _opened(group, config, batch_size, times_of_opening, left_out, report, clock)
    if not opened:
        return []
    images = _images(config, batch_size)
    products = {name: matrix_product(name) for name in limits}
    calls = {label: _call(each, images) for label, each in opened.items()}
    calls |= {_product(name): call for name, (call, _) in products.items()}
    times = alternated_rounds(
        calls, num_rounds=rounds[1], min_rounds=rounds[0], seconds=max(0.0, end - clock()), clock=clock
    )
    rates = {name: [work / seconds for seconds in times.pop(_product(name))] for name, (_, work) in products.items()}
    for name, values in rates.items():
        limits[name].extend(values)
    report(f"batch {batch_size}: {len(next(iter(times.values())))} rounds of {len(times)} contestants")
    gflop = 2e-9 * num_multiply_adds(config)
    measured = [contestant for contestant in group if contestant.label in times]
    order = {contestant.label: number for number, contestant in enumerate(contestants)}
    rows = [_row(contestant, measured, opened, times, batch_size, gflop, rates) for contestant in measured]
    return sorted(rows, key=lambda row: (_PRECISION_ORDER.index(row["precision"][:4]), order[_label(row)]))


_PRECISION_ORDER = ("floa", "bflo", "int8")


class _Times(NamedTuple):
    """Until when contestants are opened, when the rounds end, and how many there are at least."""

    deadline: float
    end: float
    min_rounds: int


def _product(precision: str) -> str:
    return f"matrix product, {precision}"


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['contestant']}, {row['precision']}"


def _images(config: MixerConfig, batch_size: int) -> Images:
    return np.random.default_rng(0).standard_normal((batch_size, 3, *config.image_size), dtype=np.float32)


def _opened(
    group: Sequence[Contestant],
    config: MixerConfig,
    batch_size: int,
    times: _Times,
    left_out: dict[str, str],
    report: Report,
    clock: Callable[[], float],
) -> dict[str, Opened]:
    """Open contestants and warm them up; those for which there is no time or memory, or which fail, are noted in `left_out`."""
    images = _images(config, batch_size)
    needed_bytes = _COPIES_OF_WEIGHTS * 4 * num_parameters(config)
    found: dict[str, Opened] = {}
    seconds_per_round = 0.0
    for contestant in group:
        name = f"{contestant.label}, batch {batch_size}"
        needed = _MIN_SECONDS_TO_COMPILE if contestant.is_compiled else 0.0
        # Another one takes as long in a round as the others on average.
        of_rounds = times.min_rounds * seconds_per_round * (1 + 1 / max(1, len(found)))
        if found and clock() + needed >= min(times.deadline, times.end - of_rounds):
            left_out[name] = "no time was left; allow more --minutes"
            continue
        if found and free_memory() < needed_bytes:
            left_out[name] = "too little memory is free; name fewer with --precision, --backend or --against"
            continue
        report(f"opening {name}")
        try:
            each = contestant.open(batch_size)
            num_images = contestant.num_warm_up_images if batch_size > 1 else 1
            for _ in range(-(-num_images // batch_size)):
                started = clock()
                each.call(images)
        except Exception as error:  # of libraries of others: whatever they raise, the others are measured
            left_out[name] = (
                f"failed: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
            )
            continue
        seconds_per_round += clock() - started
        found[contestant.label] = each
    return found


def _call(opened: Opened, images: Images) -> Callable[[], object]:
    return lambda: opened.call(images)


def _row(
    contestant: Contestant,
    measured: Sequence[Contestant],
    opened: Mapping[str, Opened],
    times: Mapping[str, list[float]],
    batch_size: int,
    gflop: float,
    rates: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """Return the row of a contestant. "speed_ratio" is against its "reference". `rates` are those of matrix products.

    That is the fastest peer in the same precision; for int8, which no peer has, timm in float32; else our first backend.
    """
    values = times[contestant.label]
    medians = {label: spread(each)["median"] for label, each in times.items()}
    peers = [
        other.label
        for other in measured
        if other.is_peer and other.precision == contestant.precision and other.label != contestant.label
    ]
    fallback = REFERENCE if REFERENCE in times and not contestant.is_peer else next(iter(times))
    reference = min(peers, key=medians.__getitem__, default=fallback)
    rate = batch_size / medians[contestant.label]
    limit = rates.get(contestant.precision)
    ratios = (
        {"times_timm_eager_float32": round(ratios_of(times, contestant.label, REFERENCE), 3)}
        if REFERENCE in times
        else {}
    )
    same_precision = f", {contestant.precision}"
    return {
        "contestant": contestant.name,
        "precision": contestant.precision,
        "batch_size": batch_size,
        "milliseconds": spread([1000 * value for value in values]),
        "images_per_second": float(f"{rate:.4g}"),
        "gflops": float(f"{rate * gflop:.4g}"),
        "share_of_matrix_product_rate": None if limit is None else _share(values, limit, batch_size * gflop),
        "reference": reference.removesuffix(same_precision),
        "speed_ratio": round(ratios_of(times, contestant.label, reference), 3),
        **ratios,
        "settings": dict(opened[contestant.label].settings),
    }


def _share(seconds: Sequence[float], limit: Sequence[float], gflop: float) -> float:
    """Return which share of the rate of the round's matrix product a call reached: the median of the rounds."""
    return round(statistics.median(gflop / each / rate for each, rate in zip(seconds, limit, strict=True)), 3)
