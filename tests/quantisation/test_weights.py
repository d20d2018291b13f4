"""Rounded matrices: against brute force, and against rounding to the nearest."""

import itertools

import numpy as np
import pytest
import torch

from allmlp import Checkpoint
from allmlp.quantisation.calibration import measure_inputs
from allmlp.quantisation.weights import equal_ranges, quantise


def output_error(weight: np.ndarray, moments: np.ndarray, rounded: object) -> float:
    """The mean square of the change of the outputs."""
    difference = weight - rounded.integers * rounded.scales  # type: ignore[attr-defined]
    return float(np.einsum("io,ij,jo->", difference, moments, difference))


def inputs(number: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    mixing = generator.standard_normal((width, width))
    return (generator.standard_normal((number, width)) @ mixing).astype(np.float32)


@pytest.mark.parametrize("limit", [63, 127])
def test_without_inputs_each_weight_goes_to_the_nearest_integer(limit: int) -> None:
    weight = np.random.default_rng(1).standard_normal((20, 7)).astype(np.float32)
    integers, scales = quantise(weight, limit)
    assert integers.dtype == np.int8 and scales.shape == (7,)
    assert (np.abs(integers).max(axis=0) == limit).all()
    assert np.abs(weight - integers * scales).max() <= scales.max() / 2 * (1 + 1e-5)


@pytest.mark.parametrize("width", [40, 300])
def test_errors_are_made_up_for(width: int) -> None:
    x = inputs(1000, width)
    moments = x.T @ x / len(x)
    weight = np.random.default_rng(1).standard_normal((width, 9)).astype(np.float32)
    nearest, compensated = quantise(weight, 63), quantise(weight, 63, moments)
    assert np.array_equal(nearest.scales, compensated.scales) and np.abs(compensated.integers).max() <= 63
    assert output_error(weight, moments, compensated) < 0.6 * output_error(weight, moments, nearest)


def test_the_result_is_near_the_best_of_all_roundings() -> None:
    x = inputs(500, 6)
    moments = x.T @ x / len(x)
    weight = np.random.default_rng(3).standard_normal((6, 1)).astype(np.float32)
    rounded = quantise(weight, 15, moments)
    down = np.floor(weight[:, 0] / rounded.scales[0])
    choices = (np.array(choice) + down for choice in itertools.product((-1, 0, 1, 2), repeat=6))
    best = min(
        float(difference @ moments @ difference)
        for difference in (weight[:, 0] - choice.clip(-15, 15) * rounded.scales[0] for choice in choices)
    )
    nearest = output_error(weight, moments, quantise(weight, 15))
    assert best * (1 - 1e-5) <= output_error(weight, moments, rounded) <= (best + nearest) / 2


def test_zeros_and_inputs_that_never_come_give_no_warning() -> None:
    moments = np.zeros((5, 5), np.float32)
    assert not quantise(np.zeros((5, 2), np.float32), 63, moments).integers.any()
    moments[0, 0] = 1
    weight = np.ones((5, 2), np.float32)
    assert (quantise(weight, 63, moments).integers == 63).all()


def test_the_inputs_of_layers_are_those_that_torch_multiplies(mixer: Checkpoint) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (7, 3, 16, 24)).astype(np.float32)
    found = measure_inputs(mixer, [images[:4], images[4:]])
    model = mixer.build().eval()
    weight = model.patch_projection.weight.detach()
    patches = torch.nn.functional.unfold(torch.from_numpy(images), 8, stride=8).transpose(1, 2)  # (B, S, 3 P P)
    with torch.inference_mode():
        expected = model.patch_projection(torch.from_numpy(images))
        ours = patches @ weight.reshape(len(weight), -1).T + model.patch_projection.bias
        rows = model.features(torch.from_numpy(images)).numpy()
    assert torch.allclose(ours, expected, atol=1e-5)
    assert (found["patch_projection"].low == -1).all() and (found["patch_projection"].high == 1).all()
    assert np.allclose(found["head"].moments, rows.T @ rows / 7, atol=1e-5)
    assert np.allclose(found["head"].low, rows.min(0), atol=1e-6) and np.allclose(
        found["head"].high, rows.max(0), atol=1e-6
    )
    assert found["blocks.0.token_mixing.fc1"].low.shape == found["blocks.1.channel_mixing.fc1"].high.shape == (16,)
    assert set(found) == {"patch_projection", "head"} | {
        f"blocks.{i}.{part}.{layer}"
        for i in (0, 1)
        for part in ("token_mixing", "channel_mixing")
        for layer in ("fc1", "fc2")
    }


@pytest.mark.parametrize("layer", ["blocks.0.token_mixing.fc1", "blocks.0.channel_mixing.fc1"])
def test_divisors_bring_ranges_together(layer: str) -> None:
    low, high = np.float32([-1, -8, 0, 0]), np.float32([2, 0.5, 0.125, 0])
    divisors = equal_ranges(layer, low, high)
    assert divisors.dtype == np.float32 and (divisors > 0).all()
    largest = np.maximum(high, -low)[:3] / divisors[:3]
    assert largest.max() / largest.min() == pytest.approx(1 if "token" in layer else 8)
