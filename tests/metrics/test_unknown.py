"""Scores and thresholds of unknown photos: scikit-learn's values, and shares that are kept."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from allmlp.metrics import (
    auroc,
    closeness,
    first_of_copies,
    fit_closeness,
    fit_threshold,
    held_out_closeness,
)


def test_closeness_is_scikit_learns_likelihood_of_probabilistic_principal_components() -> None:
    random = np.random.default_rng(0)
    known = random.normal(size=(200, 20)) @ random.normal(size=(20, 20)) + 3
    new = random.normal(size=(30, 20)) * 4
    statistics = fit_closeness(known.astype(np.float32))
    assert statistics.shape == (9, 21)
    model = PCA(n_components=8).fit(known)
    model.explained_variance_ *= 199 / 200  # theirs divide by n - 1
    model.noise_variance_ *= 199 / 200
    # Their logarithm of the density is half of the closeness, and a constant.
    expected = 2 * (model.score_samples(new) - model.score_samples(known.mean(axis=0, keepdims=True)))
    np.testing.assert_allclose(closeness(new, statistics), expected, rtol=1e-4)


def test_held_out_photos_are_scored_by_the_others() -> None:
    features = np.random.default_rng(0).normal(size=(33, 40)).astype(np.float32)
    found = held_out_closeness(features)
    rest = np.arange(33) % 5 != 2
    np.testing.assert_array_equal(found[~rest], closeness(features[~rest], fit_closeness(features[rest])))
    assert found.mean() < closeness(features, fit_closeness(features)).mean()


def test_equal_features_give_finite_scores() -> None:
    statistics = fit_closeness(np.ones((30, 4), np.float32))
    assert np.isfinite(statistics).all() and (statistics[:, -1] > 0).all()
    assert closeness(np.ones(4), statistics) == 0
    assert closeness(np.zeros(4), statistics) < -1e6


def test_copies_are_found_in_spite_of_rounding_and_nothing_else_is_one() -> None:
    random = np.random.default_rng(0)
    photos = random.normal(size=(50, 64))
    copies = np.tile(photos, (3, 1)) * (1 + 1e-6 * random.normal(size=(150, 64)))
    assert first_of_copies(copies.astype(np.float32)).tolist() == [True] * 50 + [False] * 100
    assert first_of_copies(photos * (1 + 1e-3 * random.normal(size=(50, 64)))).all()
    for value in (0, 0.7):
        assert first_of_copies(np.full((3, 4), value)).tolist() == [True, False, False]
    assert first_of_copies(np.empty((0, 4))).shape == (0,)


@pytest.mark.parametrize(
    ("number", "kept", "expected"),
    [(100, 0.95, 96), (99, 0.95, 95), (100, 1.0, 100), (30, 0.95, 30), (20, 0.9, 19), (1, 0.01, 1), (7, 0.5, 4)],
)
def test_a_threshold_is_the_score_of_a_rank(number: int, kept: float, expected: int) -> None:
    scores = np.random.default_rng(number).permutation(number).astype(np.float64)
    assert (scores >= fit_threshold(scores, kept=kept)).sum() == expected


@pytest.mark.parametrize("number", [19, 30, 100, 125])
def test_a_new_photo_is_kept_with_the_probability_that_was_asked_for(number: int) -> None:
    scores = np.random.default_rng(number).uniform(size=(20_000, number))
    # A new score is uniform, too: 1 - t is the probability that it reaches a threshold t.
    kept = 1 - np.array([fit_threshold(each, kept=0.95) for each in scores])
    noise = kept.std() / len(kept) ** 0.5
    assert 0.95 - 4 * noise <= kept.mean() <= 1 - 1 / (number + 1) + 4 * noise


@pytest.mark.parametrize("digits", [0, 1, 9])
def test_auroc_is_that_of_scikit_learn_with_and_without_ties(digits: int) -> None:
    random = np.random.default_rng(digits)
    known, unknown = random.normal(1, 1, 83).round(digits), random.normal(0, 1, 61).round(digits)
    truth = np.r_[np.ones(83), np.zeros(61)]
    assert auroc(known, unknown) == pytest.approx(roc_auc_score(truth, np.r_[known, unknown]), abs=1e-12)
