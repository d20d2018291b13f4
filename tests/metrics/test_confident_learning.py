"""Confident learning, against examples by hand and against what cleanlab 2.9.0 answered."""

import json
from pathlib import Path

import numpy as np
import pytest

from allmlp.metrics import likely_label_errors, normalized_margins

EXPECTED = json.loads((Path(__file__).parents[1] / "golden" / "label_errors_expected.json").read_text())

# By hand: the mean self-confidence of class 0 is (0.9 + 0.7 + 0.2) / 3 = 0.6, that of class 1 (0.8 + 0.6 + 0.1) / 3 = 0.5.
PROBABILITIES = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.2, 0.8], [0.4, 0.6], [0.9, 0.1]])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_an_example_by_hand():
    assert likely_label_errors(PROBABILITIES, LABELS).tolist() == [5, 2]  # margins -0.8 and -0.6
    np.testing.assert_allclose(normalized_margins(PROBABILITIES, LABELS), [0.8, 0.4, -0.6, 0.6, 0.2, -0.8])


def test_a_photo_is_no_error_if_no_class_reaches_its_threshold():
    """Photo 3 is predicted as class 0, but with 0.55 under the mean of that class, 0.9."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.55, 0.45]])
    assert likely_label_errors(probabilities, np.array([0, 0, 1, 1])).tolist() == []
    probabilities[3] = [0.95, 0.05]
    assert likely_label_errors(probabilities, np.array([0, 0, 1, 1])).tolist() == [3]


def test_a_class_without_photos_is_never_suspected():
    probabilities = np.array([[0.2, 0.1, 0.7], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]])
    assert likely_label_errors(probabilities, np.array([0, 1, 0])).tolist() == []


def made(num_photos: int, num_classes: int, seed: int):
    """Return probabilities and labels of which some are wrong; golden/README.md says how cleanlab was asked."""
    generator = np.random.default_rng(seed)
    truths = generator.integers(num_classes, size=num_photos)
    logits = generator.normal(size=(num_photos, num_classes)) + 2.0 * np.eye(num_classes)[truths]
    labels = np.where(generator.random(num_photos) < 0.15, generator.integers(num_classes, size=num_photos), truths)
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("case", EXPECTED["cases"], ids=lambda case: f"{case['num_photos']}x{case['num_classes']}")
def test_the_same_photos_in_the_same_order_as_cleanlab(case):
    probabilities, labels = made(case["num_photos"], case["num_classes"], case["seed"])
    assert likely_label_errors(probabilities, labels).tolist() == case["errors"]
    assert len(case["errors"]) > 5
