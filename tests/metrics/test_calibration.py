"""Calibration: Guo et al.'s error by a loop of its own, and a temperature at which torch's gradient vanishes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from allmlp.data import Batch
from allmlp.metrics import Metrics, expected_calibration_error, fit_temperature, reliability, score_batches


def error_by_loop(confidences: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """As the paper writes it: bins ((m - 1) / 15, m / 15], photo by photo."""
    error = 0.0
    for m in range(1, 16):
        members = [
            index for index, each in enumerate(confidences) if (m - 1) / 15 < each <= m / 15 or (m == 1 and each == 0)
        ]
        if members:
            accuracy = sum(bool(is_right[index]) for index in members) / len(members)
            confidence = sum(float(confidences[index]) for index in members) / len(members)
            error += len(members) / len(confidences) * abs(accuracy - confidence)
    return error


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1, width=32) | st.sampled_from([index / 15 for index in range(16)]), st.booleans()),
        min_size=1,
        max_size=80,
    )
)
def test_the_error_is_that_of_the_papers_formula(photos: list[tuple[float, bool]]) -> None:
    confidences, is_right = np.array([value for value, _ in photos]), np.array([right for _, right in photos])
    bins = reliability(confidences, is_right)
    assert len(bins) == 15
    assert sum(each.num_examples for each in bins) == len(photos)
    assert expected_calibration_error(bins) == pytest.approx(error_by_loop(confidences, is_right), abs=1e-12)


def test_bins_say_how_sure_and_how_often_right() -> None:
    bins = reliability(np.array([0.95, 0.97, 0.5, 1.0]), np.array([True, False, True, True]))
    assert (bins[14].num_examples, bins[14].accuracy) == (3, pytest.approx(2 / 3))
    assert bins[14].confidence == pytest.approx((0.95 + 0.97 + 1.0) / 3)
    assert (bins[7].low, bins[7].high, bins[7].num_examples) == (7 / 15, 8 / 15, 1)
    assert (bins[0].num_examples, bins[0].accuracy, bins[0].confidence) == (0, 0.0, 0.0)
    assert expected_calibration_error(()) == 0.0


def labelled(
    num_photos: int, num_classes: int, temperature: float, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return logits, and labels that are drawn from softmax(logits / temperature)."""
    generator = np.random.default_rng(seed)
    logits = (3 * generator.standard_normal((num_photos, num_classes))).astype(np.float32)
    noise = generator.gumbel(size=logits.shape)
    return logits, np.eye(num_classes, dtype=np.float32)[(logits / temperature + noise).argmax(axis=1)]


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.0, 2.5, 8.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature: float) -> None:
    # 20,000 photos leave a standard error of about one per cent.
    assert fit_temperature(*labelled(20_000, 10, temperature)) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("num_photos", [30, 1500])
@pytest.mark.parametrize("seed", range(4))
def test_torchs_gradient_of_the_loss_vanishes_at_the_temperature(num_photos: int, seed: int) -> None:
    logits, labels = labelled(num_photos, 5, 0.5 + seed, seed)
    found = fit_temperature(logits, labels)
    inverse = torch.tensor(1.0 / found, dtype=torch.float64, requires_grad=True)
    wide, targets = torch.from_numpy(logits).double(), torch.from_numpy(labels).double()
    loss = torch.nn.functional.cross_entropy(wide * inverse, targets)
    loss.backward()
    assert inverse.grad is not None
    assert abs(float(inverse.grad)) < 1e-9
    for other in (0.99 * found, 1.01 * found):
        assert float(torch.nn.functional.cross_entropy(wide / other, targets)) > loss.item()


def test_where_the_loss_has_no_minimum_the_temperature_stays() -> None:
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((40, 4)).astype(np.float32)
    all_right = np.eye(4, dtype=np.float32)[logits.argmax(axis=1)]
    assert fit_temperature(logits, all_right) == 1.0
    assert fit_temperature(np.full((40, 4), 7.0, np.float32), all_right) == 1.0
    assert fit_temperature(logits, 0 * all_right) == 1.0
    assert fit_temperature(logits[:0], all_right[:0]) == 1.0


def test_logits_that_know_nothing_end_at_the_bounds_and_huge_ones_are_no_trouble() -> None:
    generator = np.random.default_rng(1)
    logits = generator.standard_normal((40, 4)).astype(np.float32)
    all_wrong = np.eye(4, dtype=np.float32)[logits.argmin(axis=1)]
    assert fit_temperature(logits, all_wrong) == 100.0
    some_right = np.eye(4, dtype=np.float32)[np.where(np.arange(40) < 39, logits.argmax(axis=1), logits.argmin(axis=1))]
    assert fit_temperature(logits * 1e-6, some_right) == 0.01
    assert fit_temperature(logits * 1e30, some_right) == 100.0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([0.1, 0.5, 3.0]))
def test_scaled_logits_have_a_scaled_temperature(seed: int, scale: float) -> None:
    logits, labels = labelled(60, 3, 2.0, seed)
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale * fit_temperature(logits, labels), rel=1e-4)


def score(logits: NDArray[np.float32], labels: NDArray[np.float32], temperature: float | None) -> Metrics:
    images = np.repeat(logits[:, None, None, :], 3, axis=1)
    batches = [Batch(images[s], labels[s], np.ones(len(labels[s]), np.bool_)) for s in (slice(0, 7), slice(7, None))]
    names = tuple(map(str, range(logits.shape[1])))
    return score_batches(lambda photos: photos[:, 0, 0, :], batches, names, temperature=temperature)


def test_a_temperature_changes_probabilities_and_nothing_else() -> None:
    logits, labels = labelled(300, 6, 2.0)
    plain, mended = score(logits, labels, 1.0), score(logits, labels, 2.0)
    assert (plain.top1, plain.top5, plain.balanced_accuracy) == (mended.top1, mended.top5, mended.balanced_accuracy)
    np.testing.assert_array_equal(plain.predictions, mended.predictions)
    np.testing.assert_array_equal(plain.confusion, mended.confusion)
    assert (plain.loss, plain.expected_calibration_error) == (
        mended.loss_as_trained,
        mended.expected_calibration_error_as_trained,
    )
    assert (plain.loss_as_trained, plain.temperature, mended.temperature) == (plain.loss, 1.0, 2.0)
    halved = score(logits / 2, labels, 1.0)
    assert (halved.loss, halved.reliability) == (mended.loss, mended.reliability)
    assert mended.loss < plain.loss
    assert mended.expected_calibration_error < plain.expected_calibration_error
    truths = labels.argmax(axis=1)
    expected = error_by_loop(plain.confidences.astype(np.float64), plain.predictions == truths)
    assert plain.expected_calibration_error == pytest.approx(expected, abs=1e-12)


def test_none_fits_the_temperature_on_the_photos_themselves() -> None:
    logits, labels = labelled(300, 6, 2.0)
    labels[5] = 0  # does not count
    found = score(logits, labels, None)
    assert found.temperature == fit_temperature(logits, labels)
    assert found.to_dict() == score(logits, labels, found.temperature).to_dict()
