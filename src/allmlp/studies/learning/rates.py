"""The speed of networks that take turns: images per second of inference and of training, and the processor time of both."""

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from allmlp.bench import alternated_rounds, matrix_product_gflops
from allmlp.hardware.devices import reuse_freed_memory
from allmlp.hardware.memory import total_memory
from allmlp.provenance import spread

__all__ = ["affordable", "inference_call", "measured_rates", "training_call", "with_batch_that_fits"]

_Figures = TypeVar("_Figures")
_NO_MEMORY = ("out of memory", "alloc_failed")  # in the messages of torch on GPUs, and of NVIDIA's libraries

_MIN_CALLS = 5  # two to warm up, and three rounds
_MAX_SECONDS = 60.0  # of those calls, at the rate of matrix products
_SHARE_OF_MEMORY = 1 / 3
_BYTES_TO_RUN, _BYTES_TO_TRAIN = 4, 16  # per parameter: the weights; with gradients and the two moments of AdamW


def affordable(counts: Mapping[str, Mapping[str, Any]], *, training: bool, batch_size: int, device: str) -> list[str]:
    """Return the names of the networks that this machine can measure: all of them on a GPU.

    On a CPU, the least number of calls must take at most a minute at the rate of matrix products, and the networks together at
    most a third of the memory; those that come first are preferred.

    Args:
        counts: "parameters" and "multiply_adds" (of one image's forward pass) of each network, by name.
        training: whether training steps are measured; the backward pass costs twice the forward pass.
        batch_size: images per call.
        device: "cpu", "cuda" or "mps".
    """
    if device != "cpu":
        return list(counts)
    gflops = matrix_product_gflops("float32")
    left = _SHARE_OF_MEMORY * (total_memory() or 8 << 30)
    passes, num_bytes = (3, _BYTES_TO_TRAIN) if training else (1, _BYTES_TO_RUN)
    chosen = []
    for name, figures in counts.items():
        seconds = _MIN_CALLS * batch_size * passes * 2e-9 * figures["multiply_adds"] / gflops
        needed = num_bytes * figures["parameters"]
        if seconds <= _MAX_SECONDS and needed <= left:
            left -= needed
            chosen.append(name)
    return chosen


def inference_call(
    network: nn.Module, image_size: tuple[int, int], *, batch_size: int, device: str
) -> Callable[[], object]:
    """Return a function that computes a network's logits of random images once, in float32."""
    network.to(device).eval()
    images = torch.randn(batch_size, 3, *image_size, device=device)

    def call() -> None:
        with torch.inference_mode():
            network(images)
        _finish(device)

    return call


def training_call(
    network: nn.Module, image_size: tuple[int, int], *, batch_size: int, device: str
) -> Callable[[], object]:
    """Return a function that takes one training step on random images in float32: forward, backward, AdamW.

    The first call allocates the optimizer's state: call it once before it is measured.
    """
    network.to(device).train()
    images = torch.randn(batch_size, 3, *image_size, device=device)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def call() -> None:
        loss: Any = cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        _finish(device)

    return call


def measured_rates(
    calls: Mapping[str, Callable[[], object]], *, batch_size: int, num_rounds: int, seconds: float, device: str
) -> dict[str, dict[str, Any]]:
    """Let networks take turns, and return for each of them, by name, JSON figures of a call for `batch_size` images.

    "images_per_second" is by the median of the rounds, whose milliseconds are in "rounds", in the same order for all networks:
    ratios of two networks are best taken round by round (`allmlp.bench.ratios_of`). On a CPU, "images_per_core_second" is by
    the processor time of all threads, which other programs disturb less than the clock.

    There are `num_rounds` rounds, or fewer if they would take longer than `seconds`, but at least 3 (or `num_rounds`).
    """
    if device == "cpu":
        reuse_freed_memory()
    for call in calls.values():
        call()
    processor: dict[str, list[float]] = {name: [] for name in calls}
    times = alternated_rounds(
        {name: _with_processor_time(call, processor[name]) for name, call in calls.items()},
        num_rounds=num_rounds,
        min_rounds=min(3, num_rounds),
        seconds=seconds,
    )
    rates: dict[str, dict[str, Any]] = {}
    for name, values in times.items():
        rates[name] = {
            "images_per_second": float(f"{batch_size / spread(values)['median']:.4g}"),
            "batch_size": batch_size,
            "rounds": [float(f"{1000 * value:.5g}") for value in values],
        }
        if device == "cpu":
            per_call = spread(processor[name])["median"]
            rates[name]["images_per_core_second"] = float(f"{batch_size / per_call:.4g}")
    return rates


def with_batch_that_fits(measure: Callable[[int], _Figures], batch_size: int) -> _Figures:
    """Return what `measure` returns for this batch size, or for the largest of its halves that fits the memory of the GPU.

    Raises:
        RuntimeError: another failure, or not even a single image fits.
    """
    while True:
        try:
            return measure(batch_size)
        except RuntimeError as error:
            if batch_size == 1 or not any(words in str(error).lower() for words in _NO_MEMORY):
                raise
        gc.collect()  # what the failed attempt allocated is in cycles of its traceback
        batch_size //= 2


def _with_processor_time(call: Callable[[], object], spent: list[float]) -> Callable[[], object]:
    def timed() -> None:
        before = time.process_time()
        call()
        spent.append(time.process_time() - before)

    return timed


def _finish(device: str) -> None:
    """Wait until the device has computed what it was asked for."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
