"""Tuning: which backend and which of its settings are the fastest for a shape of Mixer on this machine, remembered."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.bench.rounds import alternated_rounds
from allmlp.bench.subject import sample_images
from allmlp.checkpoints import Checkpoint, ModelDescription
from allmlp.errors import ConfigError
from allmlp.exports import open_export
from allmlp.inference import (
    BACKENDS,
    Backend,
    EngineSettings,
    check_installed,
    check_tunable,
    sizes_tested_at_once,
    tuned_as,
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
_SECONDS_PER_TURN = 0.15  # a pause, and a call that does not count
_FINALISTS = 3  # of each backend
# Images per call, by the most multiply-adds that they take together: 8 of B/16 take a second.
_BATCHES = {32: 1e10, 16: 1e11, 8: 2.5e11}
_SMALLEST_BATCH = 4
# As in inference/backends/micro_batches.py: 16 images of a small Mixer take at most this many multiply-adds.
_MAX_SMALL_MULTIPLY_ADDS = 4e9
# By precision: of the largest logit, what other kernels round differently; a backend that differs by more is not chosen.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}
# In int8, engines round so differently that their classes are compared instead, on photos: so many, of which so many agree.
_MAX_PHOTOS, _MIN_AGREEMENT = 200, 0.99
_PHOTO_MULTIPLY_ADDS = 5e11  # 40 photos of B/16, which take seconds


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
    fastest of each backend take turns, as far as there is time. "compiled" is left out, because it takes minutes to start. So
    is a backend whose logits differ from those of the first by more than 1e-4 of the largest one; in int8, one that gives
    another class to more than 1 % of the clothing photos that come with allmlp. What was remembered of backends that do not
    open an export stays.

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
        description, precision, remembered_as = model.description, "float32", "float32"
    else:
        info = open_export(model).info
        description, precision, remembered_as = info.description, info.precision, tuned_as(info)
    config = description.config
    is_small = 16 * num_multiply_adds(config) <= _MAX_SMALL_MULTIPLY_ADDS
    images = _images(config)
    compared = _photos(description) if precision == "int8" else images[:1]
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
            logits = found[0].forward(compared)
        except Exception as error:  # of libraries of others: whatever they raise, the others are measured
            leave_out(name, str(error).strip() or type(error).__name__)
            continue
        if problem := _problem(logits, logits if expected is None else expected, precision):
            leave_out(name, problem)
            continue
        expected = logits if expected is None else expected
        candidates += sorted(found, key=lambda each: each.seconds)[:_FINALISTS]
    if not candidates:
        raise ConfigError(f"nothing was measured, because every backend was left out:\n{bullets(left_out)}")
    measured = _measured(candidates, images, deadline - clock(), clock)
    best: dict[str, _Candidate] = {}
    candidates = [each for each in candidates if each.label in measured]
    for each in sorted(candidates, key=lambda each: measured[each.label]):
        report(f"{each.label}: {1000 * measured[each.label]:.3g} ms per photo")
        best.setdefault(each.backend, each)
    times = {name: measured[each.label] for name, each in best.items()}
    settings = {name: each.settings for name, each in best.items() if each.settings is not None}
    return times, write_tuned(config, times, settings, remembered_as, tried=names)


def _images(config: MixerConfig) -> NDArray[np.float32]:
    multiply_adds = num_multiply_adds(config)
    number = next((size for size, most in _BATCHES.items() if size * multiply_adds <= most), _SMALLEST_BATCH)
    return np.random.default_rng(0).standard_normal((number, 3, *config.image_size), dtype=np.float32)


def _photos(description: ModelDescription) -> NDArray[np.float32]:
    most = max(_SMALLEST_BATCH, int(_PHOTO_MULTIPLY_ADDS / num_multiply_adds(description.config)))
    return description.preprocessing.normalise(sample_images(description.preprocessing, min(_MAX_PHOTOS, most)))


def _problem(logits: NDArray[np.float32], expected: NDArray[np.float32], precision: str) -> str:
    """Return why a backend with these logits is left out, "" if it is not."""
    if not np.isfinite(logits).all():
        return "Its logits are not finite."
    if precision == "int8":
        share = float((logits.argmax(axis=1) != expected.argmax(axis=1)).mean())
        return "" if share <= 1 - _MIN_AGREEMENT else f"It gives {share:.1%} of {len(logits)} photos another class."
    difference = np.abs(logits - expected).max() / max(float(np.abs(expected).max()), 1e-30)
    return "" if difference <= _TOLERANCE[precision] else f"Its logits differ by {difference:.1g} of the largest."


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
    longest = 0.0
    for settings in (None,) if backend.settings is None else backend.settings(is_small):
        begun = clock()
        if found and begun + longest > until:
            break
        arguments = () if settings is None else (settings,)
        forward = backend.open(model, "cpu", "auto", "logits", *arguments).forward
        with sizes_tested_at_once():
            forward(images)
        started = clock()
        forward(images)
        found.append(_Candidate(backend=name, settings=settings, forward=forward, seconds=clock() - started))
        longest = max(longest, clock() - begun)
    return found


def _measured(
    candidates: list[_Candidate], images: NDArray[np.float32], seconds: float, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the seconds per image of the candidates that fit into the time, in rounds; of the others, those of their trials.

    The fastest of each backend come first, so that the backends are compared in the same rounds. Of a backend in the rounds,
    trials do not count: a single one may be lucky.
    """
    ranks: Counter[str] = Counter()
    rank_of = {}
    for each in candidates:  # in the order of their speed, backend by backend
        rank_of[each.label] = ranks[each.backend]
        ranks[each.backend] += 1
    finalists: dict[str, _Candidate] = {}
    needed = 0.0
    for each in sorted(candidates, key=lambda each: (rank_of[each.label], each.seconds)):
        needed += 2 * (each.seconds + _SECONDS_PER_TURN)  # a call to begin with, and one round
        if needed > seconds:
            break
        finalists[each.label] = each
    measured = {each.label: each.seconds for each in candidates}
    if len(finalists) > 1:
        compared = {each.backend for each in finalists.values()}
        measured = {each.label: each.seconds for each in candidates if each.backend not in compared}
        calls = {label: partial(each.forward, images) for label, each in finalists.items()}
        times = alternated_rounds(calls, num_rounds=_NUM_ROUNDS, min_rounds=1, seconds=seconds, clock=clock)
        measured |= {label: spread(values)["median"] for label, values in times.items()}
    return {label: value / len(images) for label, value in measured.items()}
