"""Tuning: which backend and which of its settings are the fastest for a shape of Mixer on this machine, remembered."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.bench.rounds import alternated_rounds
from allmlp.checkpoints import Checkpoint
from allmlp.errors import ConfigError
from allmlp.exports import open_export
from allmlp.inference import (
    BACKENDS,
    Backend,
    EngineSettings,
    check_installed,
    check_tunable,
    sizes_tested_at_once,
    write_tuned,
)
from allmlp.io.display import Report, bullets, discard
from allmlp.metrics import Forward
from allmlp.model import MixerConfig, num_multiply_adds
from allmlp.provenance import spread

__all__ = ["tune"]

_SECONDS = 50.0
_SHARE_OF_ROUNDS = 0.4  # of the time, for what is left after each setting was tried once
_NUM_ROUNDS = 12
_FINALISTS = 3  # of each backend
# Images per call, by the most multiply-adds that they take together: 16 of B/16 take seconds.
_BATCHES = {32: 1e10, 16: 2.5e11}
_SMALLEST_BATCH = 4
# As in inference/backends/micro_batches.py: 16 images of a small Mixer take at most this many multiply-adds.
_MAX_SMALL_MULTIPLY_ADDS = 4e9
# By precision: of the largest logit, what other kernels round differently; a backend that differs by more is not chosen.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1, "int8": 0.1}


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    backend: str
    settings: EngineSettings | None
    forward: Forward
    seconds: float

    @property
    def label(self) -> str:
        if self.settings is None:
            return self.backend
        parts = [f"micro-batches to {self.settings.largest_micro_batch}"]
        parts += [f"{self.settings.num_streams} streams"] * (self.settings.num_streams > 1)
        parts += ["active waiting"] * self.settings.spins
        parts += [f"{self.settings.num_threads} threads"] * (self.settings.num_threads is not None)
        return f"{self.backend} ({', '.join(parts)})"


def tune(
    model: Checkpoint | Path,
    *,
    seconds: float = _SECONDS,
    report: Report = discard,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, float], Path]:
    """Measure the backends and their settings on the CPU, and remember the fastest settings of each backend.

    A checkpoint is measured in float32, and the file of an export in its own precision. Each setting is tried once, and the
    fastest of each backend take turns. "compiled" is left out, because it takes minutes to start. So is a backend whose logits
    differ from those of the first by more than 1e-4 of the largest one, or 0.1 in int8. What was remembered of backends that do
    not open an export stays.

    Returns:
        The seconds per image by backend, the fastest first, and the file that remembers them.

    Raises:
        CheckpointError: not a usable export.
        ConfigError: the cache folder cannot be written, which is noticed before anything is measured; or no backend can be
            used.
    """
    check_tunable()
    deadline = clock() + seconds
    if isinstance(model, Checkpoint):
        config, precision = model.config, "float32"
    else:
        info = open_export(model).info
        config, precision = info.description.config, info.precision
    is_small = 16 * num_multiply_adds(config) <= _MAX_SMALL_MULTIPLY_ADDS
    images = _images(config)
    names = [name for name, backend in BACKENDS.items() if name != "compiled" and backend.recognises(model)]
    candidates: list[_Candidate] = []
    left_out: list[str] = []

    def leave_out(name: str, why: str) -> None:
        left_out.append(f"{name}: {why}")
        report(f"{name}: left out. {why}")

    expected: NDArray[np.float32] | None = None
    for number, name in enumerate(names):
        left = deadline - _SHARE_OF_ROUNDS * seconds - clock()
        until = clock() + max(0.0, left) / (len(names) - number)
        if candidates and left <= 0:
            leave_out(name, "No time was left; close other programs.")
            continue
        try:
            check_installed(name, BACKENDS[name])
            found = _tried(name, BACKENDS[name], model, images, is_small=is_small, until=until, clock=clock)
            logits = found[0].forward(images[:1])
        except Exception as error:  # of libraries of others: whatever they raise, the others are measured
            leave_out(name, str(error).strip() or type(error).__name__)
            continue
        expected = logits if expected is None else expected
        difference = np.abs(logits - expected).max() / max(float(np.abs(expected).max()), 1e-30)
        if not difference <= _TOLERANCE[precision]:
            leave_out(name, f"Its logits differ by {difference:.1g} of the largest.")
            continue
        candidates += sorted(found, key=lambda each: each.seconds)[:_FINALISTS]
    if not candidates:
        raise ConfigError(f"nothing was measured, because every backend was left out:\n{bullets(left_out)}")
    return _remembered(config, precision, candidates, names, images, deadline, report, clock)


def _images(config: MixerConfig) -> NDArray[np.float32]:
    multiply_adds = num_multiply_adds(config)
    number = next((size for size, most in _BATCHES.items() if size * multiply_adds <= most), _SMALLEST_BATCH)
    return np.random.default_rng(0).standard_normal((number, 3, *config.image_size), dtype=np.float32)


def _tried(
    name: str,
    backend: Backend,
    model: Checkpoint | Path,
    images: NDArray[np.float32],
    *,
    is_small: bool,
    until: float,
    clock: Callable[[], float],
) -> list[_Candidate]:
    """Return the settings of a backend that could be tried before `until`, the usual ones at least, each with its time."""
    found: list[_Candidate] = []
    for settings in (None,) if backend.settings is None else backend.settings(is_small):
        if found and clock() > until:
            break
        arguments = () if settings is None else (settings,)
        forward = backend.open(model, "cpu", "auto", "logits", *arguments).forward
        with sizes_tested_at_once():
            forward(images)
        started = clock()
        forward(images)
        found.append(_Candidate(backend=name, settings=settings, forward=forward, seconds=clock() - started))
    return found


def _remembered(
    config: MixerConfig,
    precision: str,
    candidates: list[_Candidate],
    tried: list[str],
    images: NDArray[np.float32],
    deadline: float,
    report: Report,
    clock: Callable[[], float],
) -> tuple[dict[str, float], Path]:
    calls: Mapping[str, Callable[[], object]] = {
        each.label: lambda forward=each.forward: forward(images)  # type: ignore[misc]
        for each in candidates
    }
    times = alternated_rounds(calls, num_rounds=_NUM_ROUNDS, seconds=max(0.0, deadline - clock()), clock=clock)
    medians = {label: spread(values)["median"] / len(images) for label, values in times.items()}
    best: dict[str, _Candidate] = {}
    for each in sorted(candidates, key=lambda each: medians[each.label]):
        report(f"{each.label}: {1000 * medians[each.label]:.3g} ms per photo")
        best.setdefault(each.backend, each)
    seconds = {name: medians[each.label] for name, each in best.items()}
    settings = {name: each.settings for name, each in best.items() if each.settings is not None}
    return seconds, write_tuned(config, seconds, settings, precision, tried=tried)
