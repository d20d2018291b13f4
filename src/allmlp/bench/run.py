"""A bench: all contestants of all precisions at every batch size, in bounded time."""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from allmlp.bench.contestants import Contestant, own_contestants
from allmlp.bench.fresh_processes import start_ups
from allmlp.bench.peers import PEERS, peer_contestants
from allmlp.bench.subject import CALIBRATION, Subject, subject_of
from allmlp.bench.turns import measured_rows
from allmlp.checkpoints import Checkpoint
from allmlp.errors import ConfigError, did_you_mean
from allmlp.hardware.devices import has_native_bfloat16
from allmlp.hardware.num_compute_threads import num_compute_threads
from allmlp.inference import BACKENDS
from allmlp.io.display import Report, bullets, discard, escape
from allmlp.model import num_multiply_adds
from allmlp.provenance import environment

__all__ = ["BenchOptions", "bench"]

_PRECISIONS = ("float32", "bfloat16", "int8")
_NUM_ROUNDS = 12
_SHARE_OF_TURNS = 0.75  # of the time; the rest is for start-up


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What a bench measures.

    Attributes:
        batch_sizes: images per call.
        precisions: "float32", "bfloat16", "int8"; None: all, but bfloat16 only where the processor has it. int8 is measured
            for its speed; how often it agrees with float32 is what `export_int8` measures.
        backends: names in `BACKENDS`; None: all that are installed.
        against: names in `PEERS`; ("all",): all that are installed; (): none.
        calibrate: photos that set the ranges of int8, which do not change its speed; None: "clothing", which comes with allmlp.
        minutes: after which nothing more is begun; what is left out is reported.
        num_rounds: of the contestants' turns, at most.
        min_rounds: at least. A contestant that leaves too little time for them is left out.
        start_up: whether start-up and peak memory are measured, in fresh processes.

    Raises:
        ConfigError: an unknown name, or a number out of range.
    """

    batch_sizes: tuple[int, ...] = (1, 32)
    precisions: tuple[str, ...] | None = None
    backends: tuple[str, ...] | None = None
    against: tuple[str, ...] = ()
    calibrate: str | Path | None = None
    minutes: float = 3.0
    num_rounds: int = _NUM_ROUNDS
    min_rounds: int = 3
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
    model: Checkpoint | str | Path,
    options: BenchOptions,
    *,
    source: str | Path | None = None,
    report: Report = discard,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Measure a checkpoint, or the file of an export, on the CPU, and return figures that are ready to be written as JSON.

    `source` is the checkpoint's path or name, from which fresh processes load it to measure the start-up of torch's backends;
    None leaves these out. The other engines load exports.

    Raises:
        CheckpointError: not a usable export.
        ConfigError: nothing could be measured; the message has the reasons.
        DataError: no photos at `options.calibrate`.
    """
    begun = clock()
    deadline = begun + 60 * options.minutes
    left_out: dict[str, str] = {}
    precisions = _precisions(options, left_out)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subject = subject_of(model, calibrate=options.calibrate, folder=folder)
        if options.precisions is None and "bfloat16" in subject.precisions:  # an export whose own precision it is
            precisions = ("bfloat16",)
            left_out.pop("bfloat16", None)
        contestants = _contestants(subject, precisions, options, left_out)
        limits: dict[str, list[float]] = {name: [] for name in _with_products(precisions)}
        gflop = 2e-9 * num_multiply_adds(subject.config)
        share = 60 * options.minutes * (_SHARE_OF_TURNS if options.start_up else 1) / len(options.batch_sizes)
        results: list[dict[str, Any]] = []
        for number, batch_size in enumerate(options.batch_sizes):
            end = begun + (number + 1) * share
            results += measured_rows(
                contestants,
                subject.config,
                batch_size,
                end=end,
                share=share,
                rounds=(min(options.min_rounds, options.num_rounds), options.num_rounds),
                limits=limits,
                left_out=left_out,
                report=report,
                clock=clock,
            )
        if not results:
            reasons = bullets(f"{name}: {why}" for name, why in left_out.items())
            raise ConfigError(f"nothing was measured, because everything was left out:\n{reasons}")
        fresh: dict[str, Any] = {}
        if options.start_up:
            fresh = start_ups(contestants, subject, source, folder, deadline, left_out, report=report, clock=clock)
    return {
        "environment": environment(),
        "source": subject.description.source,
        "num_threads": num_compute_threads(),
        "gflop_per_image": float(f"{gflop:.4g}"),
        "matrix_product_gflops": {name: round(median(rates), 1) for name, rates in limits.items() if rates},
        **({"int8": _int8_note(options, subject)} if any("int8" in row["precision"] for row in results) else {}),
        "results": results,
        "start_up": fresh,
        "left_out": left_out,
    }


def _precisions(options: BenchOptions, left_out: dict[str, str]) -> tuple[str, ...]:
    """Return the precisions to measure."""
    has_torch = importlib.util.find_spec("torch") is not None
    if options.precisions is not None or (has_torch and has_native_bfloat16("cpu")):
        return options.precisions or _PRECISIONS
    left_out["bfloat16"] = "this processor lacks it, and would emulate it slowly"
    return ("float32", "int8")


def _with_products(precisions: Sequence[str]) -> list[str]:
    """Return the precisions in which torch multiplies matrices, if it is installed."""
    has_torch = importlib.util.find_spec("torch") is not None
    return [name for name in precisions if has_torch and name != "int8"]


def _int8_note(options: BenchOptions, subject: Subject) -> str:
    if subject.is_export:
        return "as the export has it"
    photos = CALIBRATION if options.calibrate is None else escape(Path(options.calibrate).name)
    return (
        f"all layers, with ranges from photos of {photos}, for the speed only. Its accuracy was not measured: "
        "allmlp export --precision int8 does that."
    )


def _contestants(
    subject: Subject, precisions: Sequence[str], options: BenchOptions, left_out: dict[str, str]
) -> list[Contestant]:
    found: list[Contestant] = []
    own = own_contestants(subject, precisions, options.backends or tuple(BACKENDS))
    named = None if "all" in options.against else options.against
    for contestant in (*own, *peer_contestants(subject.config, precisions, named)):
        if not isinstance(contestant, Contestant):
            left_out[contestant[0]] = contestant[1]
        else:
            found.append(contestant)
    return found
