"""Facts about the scores of a classifier, against formulas written out by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from allmlp.data import Batch
from allmlp.errors import CheckpointError, DataError
from allmlp.metrics import Metrics, score_batches


def as_images(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Carry logits through a batch as "photos" of 1 x K pixels, so that a plain function can be the model."""
    return np.repeat(logits[:, None, None, :], 3, axis=1).astype(np.float32)  # (B, 3, 1, K)


def first_pixels(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images[:, 0, 0, :]


def score(logits: object, labels: object, *, names: tuple[str, ...] | None = None) -> Metrics:
    values = np.asarray(logits, dtype=np.float32)
    rows = np.asarray(labels, dtype=np.float32)
    batch = Batch(as_images(values), rows, np.ones(len(values), dtype=bool))
    return score_batches(first_pixels, [batch], names or tuple("abcdefghij"[: values.shape[1]]))


def one_hot(indices: list[int], num_classes: int) -> NDArray[np.float32]:
    return np.eye(num_classes, dtype=np.float32)[indices]


def test_scores_of_four_photos_equal_those_worked_out_by_hand() -> None:
    metrics = score([[2, 1, 0], [2, 1, 0], [0, 1, 2], [1, 3, 2]], one_hot([0, 1, 2, 1], 3))
    assert metrics.num_examples == 4
    assert metrics.top1 == 0.75
    assert metrics.top5 == 1.0
    assert metrics.balanced_accuracy == pytest.approx((1 + 1 / 2 + 1) / 3, rel=1e-15)
    log_sum = math.log(math.exp(2) + math.exp(1) + 1)  # every row holds 0, 1, 2 or these plus one
    assert metrics.loss == pytest.approx(((log_sum - 2) * 3 + (log_sum - 1)) / 4, rel=1e-14)
    assert metrics.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert metrics.confusion.dtype == np.int64
    assert metrics.predictions.tolist() == [0, 0, 2, 1]
    np.testing.assert_allclose(metrics.confidences, math.exp(2 - log_sum), rtol=1e-7)
    assert [(each.name, each.num_examples, each.recall, each.precision) for each in metrics.per_class] == [
        ("a", 1, 1.0, 0.5),
        ("b", 2, 0.5, 1.0),
        ("c", 1, 1.0, 1.0),
    ]


def test_scores_of_random_logits_equal_plain_formulas() -> None:
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(200, 12)).astype(np.float32)
    truth = generator.integers(0, 12, size=200)
    metrics = score(logits, one_hot(truth.tolist(), 12), names=tuple(map(str, range(12))))
    wide = logits.astype(np.float64)
    probabilities = np.exp(wide) / np.exp(wide).sum(axis=1, keepdims=True)
    order = np.argsort(-wide, axis=1)
    assert metrics.top1 == np.mean(order[:, 0] == truth)
    assert metrics.top5 == np.mean((order[:, :5] == truth[:, None]).any(axis=1))
    assert metrics.loss == pytest.approx(-np.log(probabilities[np.arange(200), truth]).mean(), rel=1e-13)
    recalls = [np.mean(order[truth == index, 0] == index) for index in range(12)]
    assert metrics.balanced_accuracy == pytest.approx(np.mean(recalls), rel=1e-14)
    np.testing.assert_allclose(metrics.confidences, probabilities.max(axis=1), rtol=1e-6)


def test_a_prediction_in_the_label_set_is_right_and_the_target_spreads_over_the_set() -> None:
    metrics = score([[0, 3, 1], [3, 1, 0]], [[1, 1, 0], [0, 1, 1]])
    assert metrics.top1 == 0.5
    assert metrics.confusion.tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    log_sum = math.log(math.exp(3) + math.exp(1) + 1)
    assert metrics.loss == pytest.approx((log_sum - 1.5 + log_sum - 0.5) / 2, rel=1e-14)


def test_a_photo_without_a_label_is_predicted_but_does_not_count() -> None:
    with_it = score([[2, 1, 0], [0, 1, 9], [0, 1, 0]], [[1, 0, 0], [0, 0, 0], [1, 0, 0]])
    without = score([[2, 1, 0], [0, 1, 0]], one_hot([0, 0], 3))
    assert with_it.to_dict() == without.to_dict()
    assert with_it.num_examples == 2
    assert with_it.predictions.tolist() == [0, 2, 1]


def test_a_class_without_photos_is_left_out_of_balanced_accuracy() -> None:
    metrics = score([[2, 1, 0], [1, 2, 0]], one_hot([0, 0], 3))
    assert metrics.balanced_accuracy == 0.5
    assert metrics.per_class[2].num_examples == 0
    assert metrics.per_class[2].recall == metrics.per_class[2].precision == 0.0


def test_equal_logits_rank_by_class_index() -> None:
    metrics = score(np.zeros((7, 7)), one_hot(list(range(7)), 7))
    assert metrics.top1 == 1 / 7
    assert metrics.top5 == 5 / 7
    assert metrics.predictions.tolist() == [0] * 7


@pytest.mark.parametrize("num_classes", [2, 3, 4, 5])
def test_top5_of_at_most_five_classes_is_all(num_classes: int) -> None:
    generator = np.random.default_rng(0)
    metrics = score(generator.normal(size=(9, num_classes)), one_hot([1] * 9, num_classes))
    assert metrics.top5 == 1.0


def test_huge_logits_have_a_finite_loss() -> None:
    metrics = score([[1e30, -1e30], [3e38, -3e38]], one_hot([0, 0], 2))
    assert metrics.loss == 0.0
    assert score([[1000.0, 0.0]], one_hot([1], 2)).loss == 1000.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused_with_advice(bad: float) -> None:
    with pytest.raises(CheckpointError, match=r"1 of 2 photos.*learning rate.*float32"):
        score([[0.0, 1.0], [bad, 1.0]], one_hot([0, 1], 2))


def test_padding_may_hold_anything() -> None:
    images = as_images(np.array([[2, 1], [math.nan, math.nan]], dtype=np.float32))
    labels = np.array([[1, 0], [7, math.nan]], dtype=np.float32)
    metrics = score_batches(first_pixels, [Batch(images, labels, np.array([True, False]))], ("a", "b"))
    assert (metrics.num_examples, metrics.top1) == (1, 1.0)


def test_a_model_of_other_classes_is_refused() -> None:
    batch = Batch(as_images(np.zeros((2, 3), dtype=np.float32)), one_hot([0, 1], 2), np.ones(2, dtype=bool))
    with pytest.raises(CheckpointError, match=r"\(2, 3\).*\(2, 2\)"):
        score_batches(first_pixels, [batch], ("a", "b"))


def test_labels_that_are_not_sets_are_refused() -> None:
    with pytest.raises(DataError, match="0 and 1"):
        score([[1, 2]], [[0.9, 0.1]])
    with pytest.raises(DataError, match=r"\(1, 3\)"):
        score([[1, 2]], [[0, 1, 0]])


@pytest.mark.parametrize("labels", [np.zeros((0, 2)), np.zeros((3, 2))])
def test_nothing_to_evaluate_is_an_error(labels: NDArray[np.float32]) -> None:
    with pytest.raises(DataError, match="Nothing to evaluate"):
        score(np.zeros((len(labels), 2)), labels)
    with pytest.raises(DataError, match="Nothing to evaluate"):
        score_batches(first_pixels, [], ("a", "b"))


def test_to_dict_is_json_without_the_arrays() -> None:
    metrics = score([[2, 1], [2, 1]], one_hot([0, 1], 2))
    assert json.loads(json.dumps(metrics.to_dict(), allow_nan=False)) == {
        "num_examples": 2,
        "top1": 0.5,
        "top1_interval": [pytest.approx(0.0945, abs=1e-4), pytest.approx(0.9055, abs=1e-4)],  # scipy, of 1 of 2
        "top5": 1.0,
        "balanced_accuracy": 0.5,
        "loss": pytest.approx(metrics.loss, rel=1e-15),
        "expected_calibration_error": metrics.expected_calibration_error,
        "temperature": 1.0,
        "loss_as_trained": metrics.loss,
        "expected_calibration_error_as_trained": metrics.expected_calibration_error,
        "reliability": [dataclasses.asdict(each) for each in metrics.reliability],
        "per_class": [
            {"name": "a", "num_examples": 1, "recall": 1.0, "precision": 0.5},
            {"name": "b", "num_examples": 1, "recall": 0.0, "precision": 0.0},
        ],
    }


@st.composite
def photos_and_cuts(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], list[int], list[int]]:
    num_photos, num_classes = draw(st.integers(1, 24)), draw(st.integers(2, 40))
    values = st.floats(-50, 50, width=32) | st.sampled_from([0.0, 1.0])  # the samples make ties likely
    logits = draw(arrays.arrays(np.float32, (num_photos, num_classes), elements=values))
    labels = draw(arrays.arrays(np.bool_, (num_photos, num_classes))).astype(np.float32)
    labels[0, 0] = 1
    cuts = sorted(draw(st.sets(st.integers(1, num_photos), max_size=6)))
    return logits, labels, cuts, draw(st.lists(st.integers(0, 5), min_size=len(cuts) + 1, max_size=len(cuts) + 1))


def padded(images: NDArray[np.float32], labels: NDArray[np.float32], num_padding: int) -> Batch:
    mask = np.arange(len(images) + num_padding) < len(images)
    shift = num_padding // 2  # padding may stand anywhere
    images = np.pad(images, ((0, num_padding), (0, 0), (0, 0), (0, 0)), constant_values=5)
    labels = np.pad(labels, ((0, num_padding), (0, 0)), constant_values=1)
    return Batch(*(np.roll(part, shift, axis=0) for part in (images, labels, mask)))


@settings(deadline=None)
@given(photos_and_cuts())
def test_metrics_do_not_depend_on_batching_or_padding(
    case: tuple[NDArray[np.float32], NDArray[np.float32], list[int], list[int]],
) -> None:
    logits, labels, cuts, paddings = case
    whole = score(logits, labels, names=tuple(map(str, range(logits.shape[1]))))
    pieces = zip(np.split(as_images(logits), cuts), np.split(labels, cuts), paddings, strict=True)
    batches = [padded(*piece) for piece in pieces]
    parts = score_batches(first_pixels, batches, tuple(map(str, range(logits.shape[1]))))
    assert parts.to_dict() == whole.to_dict()  # to the last bit
    for name in ("confusion", "predictions", "confidences"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert whole.confusion.sum() == whole.num_examples
    assert np.trace(whole.confusion) / whole.num_examples == whole.top1
