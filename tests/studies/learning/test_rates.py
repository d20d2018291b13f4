"""Rates of networks in turns: processor time, training steps that train, and what is too large to be measured."""

import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from allmlp.studies.learning.networks import make_network
from allmlp.studies.learning.rates import (
    affordable,
    inference_call,
    measured_rates,
    training_call,
    with_batch_that_fits,
)

_WIDTHS = {"patch_size": 4, "num_blocks": 1, "hidden_dim": 16, "tokens_mlp_dim": 8, "channels_mlp_dim": 32}


def _network() -> nn.Module:
    network = make_network("mixer", seed=0, image_size=(16, 16), num_classes=2, widths=_WIDTHS)
    nn.init.normal_(network.get_parameter("head.weight"))  # with a zero classifier, one step moves no other weight
    return network


def _busy(seconds: float) -> Callable[[], None]:
    def call() -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return call


def test_processor_time_is_what_a_call_uses() -> None:
    calls = {"long": _busy(0.02), "short": _busy(0.01)}
    rates = measured_rates(calls, batch_size=4, num_rounds=5, seconds=20, device="cpu")
    # A turn ends with the first look at the clock after its time; what other programs use does not count.
    assert rates["long"]["images_per_core_second"] == pytest.approx(4 / 0.02, rel=0.05)
    assert rates["short"]["images_per_core_second"] == pytest.approx(4 / 0.01, rel=0.05)
    assert [len(rate["rounds"]) for rate in rates.values()] == [5, 5]


def test_rounds_end_when_the_time_is_over_but_not_before_three() -> None:
    rates = measured_rates({"busy": _busy(0.01)}, batch_size=1, num_rounds=50, seconds=0.001, device="cpu")
    assert len(rates["busy"]["rounds"]) == 3
    rates = measured_rates({"busy": _busy(0.01)}, batch_size=1, num_rounds=1, seconds=60, device="cpu")
    assert len(rates["busy"]["rounds"]) == 1


def test_a_training_step_trains_and_inference_does_not() -> None:
    network = _network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    inference_call(network, (16, 16), batch_size=2, device="cpu")()
    assert not network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    training_call(network, (16, 16), batch_size=2, device="cpu")()
    assert network.training
    assert not any(torch.equal(before[name], parameter) for name, parameter in network.named_parameters())


def test_what_would_take_too_long_or_too_much_memory_is_left_out() -> None:
    small = {"parameters": 1_000_000, "multiply_adds": 1_000_000}
    slow = {"parameters": 1_000_000, "multiply_adds": 10**15}
    large = {"parameters": 10**12, "multiply_adds": 1_000_000}
    counts = {"slow": slow, "large": large, "small": small}
    assert affordable(counts, training=True, batch_size=8, device="cpu") == ["small"]
    assert affordable(counts, training=False, batch_size=8, device="cpu") == ["small"]
    assert affordable(counts, training=True, batch_size=8, device="cuda") == ["slow", "large", "small"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_batches_are_halved_until_they_fit_the_memory(error: Exception) -> None:
    tried = []

    def measure(batch_size: int) -> str:
        tried.append(batch_size)
        if batch_size > 50:
            raise error
        return f"{batch_size} images"

    assert with_batch_that_fits(measure, 256) == "32 images"
    assert tried == [256, 128, 64, 32]


def test_other_failures_and_a_single_image_that_does_not_fit_are_raised() -> None:
    tried = []

    def fails(message: str) -> Callable[[int], None]:
        def measure(batch_size: int) -> None:
            tried.append(batch_size)
            raise RuntimeError(message)

        return measure

    with pytest.raises(RuntimeError, match="shapes"):
        with_batch_that_fits(fails("shapes cannot be multiplied"), 8)
    with pytest.raises(RuntimeError, match="out of memory"):
        with_batch_that_fits(fails("CUDA out of memory"), 4)
    assert tried == [8, 4, 2, 1]
