"""The scores of a classifier as people are shown them, and as JSON."""

import dataclasses
import json

import numpy as np
import pytest

from allmlp.data import Batch
from allmlp.metrics import Metrics, accuracy_text, cross_validation_interval, score_batches, wilson_interval


def scored(num_classes: int, num_photos: int, *, temperature: float = 1.0) -> Metrics:
    """Return scores of random logits: the classes of `num_photos` photos, about half of them right."""
    generator = np.random.default_rng(num_classes)
    labels = np.eye(num_classes, dtype=np.float32)[generator.integers(0, num_classes, num_photos)]
    logits = (2 * labels * generator.random((num_photos, 1)) + generator.random(labels.shape)).astype(np.float32)
    batch = Batch(logits, labels, np.ones(num_photos, dtype=bool))
    names = tuple(f"class {index}" for index in range(num_classes))
    return score_batches(lambda rows: rows, [batch], names, temperature=temperature)


@pytest.mark.parametrize(
    ("num_classes", "num_photos", "names"),
    [
        (5, 99, ["top-1", "balanced accuracy", "loss"]),
        (6, 99, ["top-1", "top-5", "balanced accuracy", "loss"]),
        (5, 100, ["top-1", "balanced accuracy", "loss", "calibration error"]),
    ],
)
def test_only_scores_that_say_something_are_shown(num_classes: int, num_photos: int, names: list[str]) -> None:
    metrics = scored(num_classes, num_photos)
    assert [name for name, _ in metrics.rows()] == names
    shown = metrics._repr_html_()
    assert ("top-5" in shown, "calibration error" in shown) == ("top-5" in names, "calibration error" in names)


def test_a_calibration_error_says_that_no_temperature_was_fitted() -> None:
    as_trained, fitted = scored(3, 200), scored(3, 200, temperature=0.7)
    assert dict(as_trained.rows())["calibration error"].endswith("% (temperature not fitted)")
    assert dict(fitted.rows())["calibration error"] == f"{fitted.expected_calibration_error:.2%}"


def test_every_form_leads_with_the_interval_while_it_is_wide() -> None:
    few, many = scored(3, 17), scored(3, 4_000)
    for metrics in (few, many):
        right = int(np.trace(metrics.confusion))
        text = accuracy_text(right, metrics.num_examples, wilson_interval(right, metrics.num_examples))
        assert metrics.top1_text == dict(metrics.rows())["top-1"] == text
        assert text in metrics._repr_html_()
        assert repr(metrics) == f"Metrics({metrics.num_examples:,} photos: top-1 {text})"
    assert few.top1_text.startswith(f"{few.top1_interval[0]:.0%} to ")
    assert many.top1_text.startswith(f"{many.top1:.1%} (")


def test_cross_validated_scores_have_the_wider_interval_in_words_and_as_json() -> None:
    metrics = dataclasses.replace(scored(3, 300), num_folds=5)
    low, high = cross_validation_interval(metrics.num_correct, 300, 5)
    assert metrics.top1_text == accuracy_text(metrics.num_correct, 300, (low, high))
    assert metrics.to_dict()["top1_interval"] == [low, high]


def test_json_gives_the_scores_back() -> None:
    metrics = scored(4, 50, temperature=1.3)
    values = json.loads(json.dumps(metrics.to_dict()))
    arrays = {"truths": metrics.truths, "predictions": metrics.predictions, "confidences": metrics.confidences}
    for older in ((), ("top1_interval",)):  # which runs of older versions lack
        read = Metrics.from_dict({name: value for name, value in values.items() if name not in older}, **arrays)
        assert read.to_dict() == metrics.to_dict()
        np.testing.assert_array_equal(read.confusion, metrics.confusion)
