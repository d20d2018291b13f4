"""Tuning: which backend is the fastest for a shape of Mixer on this machine, measured once and remembered."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from allmlp.bench.rounds import alternated_rounds
from allmlp.checkpoints import Checkpoint
from allmlp.inference import BACKENDS, check_installed, check_tunable, open_model, write_tuned
from allmlp.io.display import Report, discard
from allmlp.provenance import spread

__all__ = ["tune"]

_SECONDS = 50.0
_BATCH_SIZE = 16
_MAX_SECONDS_PER_CALL = 1.0
# What other kernels round differently; a backend that differs by more is not chosen for the user.
_TOLERANCE = 1e-4


def tune(
    checkpoint: Checkpoint,
    *,
    seconds: float = _SECONDS,
    report: Report = discard,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, float], Path]:
    """Measure the backends in float32 on the CPU, and remember the result: the seconds per image, the fastest first.

    "compiled" is left out, because it takes minutes to start. So is a backend whose logits differ from those of "eager" by more
    than 1e-4 of the largest one.

    Returns:
        The seconds per image by backend, and the file that remembers them.

    Raises:
        ConfigError: the cache folder cannot be written, which is noticed before anything is measured.
    """
    check_tunable()
    deadline = clock() + seconds
    eager = open_model(checkpoint, backend="eager", device="cpu").forward
    shape = (_BATCH_SIZE, 3, *checkpoint.config.image_size)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    eager(images[:1])
    started = clock()
    expected = eager(images[:1])
    if _BATCH_SIZE * (clock() - started) > _MAX_SECONDS_PER_CALL:
        images = images[:1]
    calls: dict[str, Callable[[], object]] = {}
    for name, backend in BACKENDS.items():
        if name == "compiled":
            continue
        if clock() > deadline:
            report(f"{name}: left out. No time was left; close other programs.")
            continue
        try:
            check_installed(name, backend)
            forward = open_model(checkpoint, backend=name, device="cpu").forward
            forward(images[:1])
        except Exception as error:  # of libraries of others: whatever they raise, the others are measured
            report(f"{name}: left out. {str(error).strip() or type(error).__name__}")
            continue
        difference = np.abs(forward(images[:1]) - expected).max() / max(float(np.abs(expected).max()), 1e-30)
        if not difference <= _TOLERANCE:
            report(f"{name}: left out. Its logits differ by {difference:.1g} of the largest.")
            continue
        for _ in range(6 if len(images) > 1 else 1):  # until its micro-batches have their final size
            forward(images)
        calls[name] = lambda forward=forward: forward(images)  # type: ignore[misc]
    times = alternated_rounds(calls, num_rounds=12, seconds=max(0.0, deadline - clock()), clock=clock)
    medians = {name: spread(values)["median"] / len(images) for name, values in times.items()}
    ordered = dict(sorted(medians.items(), key=lambda item: item[1]))
    return ordered, write_tuned(checkpoint.config, ordered)
