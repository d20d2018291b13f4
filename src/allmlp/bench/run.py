"""A bench: all contestants at every precision and batch size, in bounded time."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from allmlp.bench.contestants import Contestant, Images, own_contestants
from allmlp.bench.matrix_product import matrix_product_gflops
from allmlp.bench.peers import PEERS, peer_contestants
from allmlp.bench.processes import start_up
from allmlp.bench.rounds import alternated_rounds, ratios_of
from allmlp.checkpoints import Checkpoint
from allmlp.errors import ConfigError, did_you_mean
from allmlp.hardware.devices import has_native_bfloat16
from allmlp.inference import BACKENDS
from allmlp.io.display import Report, bullets, discard
from allmlp.model import cost
from allmlp.provenance import environment, spread

__all__ = ["BenchOptions", "bench"]

_PRECISIONS = ("float32", "bfloat16")
_NUM_ROUNDS = 12
_MIN_SECONDS_TO_COMPILE = 90.0
_SHARE_OF_ROUNDS = 0.4  # of the time for a batch size and precision; contestants are opened before


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What a bench measures.

    Attributes:
        batch_sizes: images per call.
        precisions: "float32", "bfloat16"; None: float32, and bfloat16 where the processor has it.
        backends: names in `BACKENDS`; None: all that are installed.
        against: names in `PEERS`; ("all",): all that are installed; (): none.
        minutes: after which nothing more is begun; what is left out is reported.
        num_rounds: of the contestants' turns, at most.
        start_up: whether start-up and peak memory are measured, in fresh processes.

    Raises:
        ConfigError: an unknown name, or a number out of range.
    """

    batch_sizes: tuple[int, ...] = (1, 32)
    precisions: tuple[str, ...] | None = None
    backends: tuple[str, ...] | None = None
    against: tuple[str, ...] = ()
    minutes: float = 3.0
    num_rounds: int = _NUM_ROUNDS
    start_up: bool = True

    def __post_init__(self) -> None:
        _check_names("precision", self.precisions or (), _PRECISIONS)
        _check_names("backend", self.backends or (), tuple(BACKENDS))
        _check_names("peer", self.against, ("all", *PEERS))
        if not self.batch_sizes or not all(1 <= size <= 1024 for size in self.batch_sizes):
            raise ConfigError(f"batch sizes are {self.batch_sizes}; expected numbers from 1 to 1024, such as 1,32.")
        if not 0.0 < self.minutes <= 600.0:
            raise ConfigError(f"minutes is {self.minutes:g}; expected more than 0 and at most 600.")


def _check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"Unknown {what} {name!r}.{did_you_mean(name, known)} Choose from {', '.join(known)}.")


def bench(
    checkpoint: Checkpoint,
    options: BenchOptions,
    *,
    source: str | Path | None = None,
    report: Report = discard,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Measure a checkpoint on the CPU and return figures that are ready to be written as JSON.

    `source` is the checkpoint's path or name, from which fresh processes load it to measure start-up; None leaves that out.

    Raises:
        ConfigError: nothing could be measured; the message has the reasons.
    """
    import torch

    begun = clock()
    precisions = options.precisions or (_PRECISIONS if has_native_bfloat16("cpu") else _PRECISIONS[:1])
    limits = {precision: round(matrix_product_gflops(precision), 1) for precision in precisions}
    gflop = 2e-9 * sum(part.multiply_adds for part in cost(checkpoint.config))
    left_out: dict[str, str] = {}
    contestants = _contestants(checkpoint, precisions, options, left_out)
    results = []
    groups = [(batch_size, precision) for batch_size in options.batch_sizes for precision in precisions]
    share = 60 * options.minutes / len(groups)
    for number, (batch_size, precision) in enumerate(groups):
        group = [contestant for contestant in contestants if contestant.precision == precision]
        end = begun + (number + 1) * share
        calls = _opened(group, checkpoint, batch_size, end - _SHARE_OF_ROUNDS * share, left_out, report, clock)
        if not calls:
            continue
        seconds = max(0.0, end - clock())
        times = alternated_rounds(calls, num_rounds=options.num_rounds, seconds=seconds, clock=clock)
        report(f"batch {batch_size}, {precision}: {len(next(iter(times.values())))} rounds of {len(times)} contestants")
        results += _rows(times, group, batch_size, precision, gflop, limits[precision])
    if not results:
        reasons = bullets(f"{name}: {why}" for name, why in left_out.items())
        raise ConfigError(f"nothing was measured, because everything was left out:\n{reasons}")
    deadline = begun + 60 * options.minutes
    fresh = _start_ups(source, contestants, deadline, left_out, clock) if options.start_up and source else {}
    return {
        "environment": environment(),
        "source": checkpoint.source,
        "num_threads": torch.get_num_threads(),
        "gflop_per_image": float(f"{gflop:.4g}"),
        "matrix_product_gflops": limits,
        "results": results,
        "start_up": fresh,
        "left_out": left_out,
    }


def _contestants(
    checkpoint: Checkpoint, precisions: Sequence[str], options: BenchOptions, left_out: dict[str, str]
) -> list[Contestant]:
    found: list[Contestant] = []
    own = own_contestants(checkpoint, precisions, options.backends or tuple(BACKENDS))
    peers = peer_contestants(checkpoint.config, precisions) if options.against else ()
    for contestant in (*own, *peers):
        if not isinstance(contestant, Contestant):
            left_out[contestant[0]] = contestant[1]
        elif not contestant.is_peer or {"all", contestant.name} & set(options.against):
            found.append(contestant)
    return found


def _opened(
    group: Sequence[Contestant],
    checkpoint: Checkpoint,
    batch_size: int,
    deadline: float,
    left_out: dict[str, str],
    report: Report,
    clock: Callable[[], float],
) -> dict[str, Callable[[], object]]:
    """Open contestants and warm them up; those for which there is no time, or which fail, are noted in `left_out`."""
    shape = (batch_size, 3, *checkpoint.config.image_size)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    calls: dict[str, Callable[[], object]] = {}
    for contestant in group:
        name = f"{contestant.name}, {contestant.precision}, batch {batch_size}"
        needed = _MIN_SECONDS_TO_COMPILE if contestant.is_compiled else 0.0
        if calls and deadline - clock() <= needed:
            left_out[name] = "no time was left; allow more --minutes"
            continue
        report(f"opening {name}")
        try:
            function = contestant.open(batch_size)
            call = _call(function, images)
            num_images = contestant.num_warm_up_images if batch_size > 1 else 1
            for _ in range(-(-num_images // batch_size)):
                call()
        except Exception as error:  # of libraries of others: whatever they raise, the others are measured
            left_out[name] = (
                f"failed: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
            )
            continue
        calls[contestant.name] = call
    return calls


def _call(function: Callable[[Images], object], images: Images) -> Callable[[], object]:
    return lambda: function(images)


def _rows(
    times: Mapping[str, list[float]],
    group: Sequence[Contestant],
    batch_size: int,
    precision: str,
    gflop: float,
    limit: float,
) -> list[dict[str, Any]]:
    """Return one row per contestant; "speed_ratio" is against the fastest peer, else our eager backend."""
    medians = {name: spread(values)["median"] for name, values in times.items()}
    peers = [contestant.name for contestant in group if contestant.is_peer and contestant.name in times]
    rows = []
    for name, values in times.items():
        references = [peer for peer in peers if peer != name] or [next(iter(times))]
        reference = min(references, key=medians.__getitem__)
        rate = batch_size / medians[name]
        rows.append(
            {
                "contestant": name,
                "precision": precision,
                "batch_size": batch_size,
                "milliseconds": spread([1000 * value for value in values]),
                "images_per_second": float(f"{rate:.4g}"),
                "gflops": float(f"{rate * gflop:.4g}"),
                "share_of_matrix_product_rate": round(rate * gflop / limit, 3),
                "reference": reference,
                "speed_ratio": round(ratios_of(times, name, reference), 3),
            }
        )
    return rows


def _start_ups(
    source: str | Path,
    contestants: Sequence[Contestant],
    deadline: float,
    left_out: dict[str, str],
    clock: Callable[[], float],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for contestant in contestants:
        if contestant.is_peer or contestant.is_compiled:
            continue
        name = f"{contestant.name}, {contestant.precision}"
        if clock() > deadline:
            left_out[f"start-up of {name}"] = "no time was left; allow more --minutes"
            continue
        try:
            found[name] = start_up(source, contestant.name.removeprefix("allmlp-"), contestant.precision)
        except RuntimeError as error:
            left_out[f"start-up of {name}"] = f"failed: {error}"
    return found
