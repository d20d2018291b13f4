"""Linear few-shot: NumPy's normal equations are the oracle, and a solution without each example in turn."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from allmlp.errors import ConfigError, DataError
from allmlp.metrics import AUTHORS_PENALTY, PENALTIES, FewShotOptions, LabelledFeatures, draw_examples, few_shot
from allmlp.metrics.ridge import Ridge, decompose

# (examples, features, rank, classes): more examples than features and fewer, as many, deficient, and as few as can be.
SHAPES = [(50, 20, 20, 5), (20, 50, 50, 5), (20, 50, 5, 3), (40, 40, 40, 4), (41, 40, 40, 4), (39, 40, 40, 4)]
SHAPES += [(200, 60, 10, 7), (2, 3, 3, 2), (3, 3, 3, 2), (3, 1, 1, 2), (1, 4, 4, 1), (2500, 30, 30, 3), (90, 100, 1, 2)]
penalties = np.array(PENALTIES)


def made_up(
    num_examples: int, num_features: int, rank: int, num_classes: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return features (n, d) and other ones (30, d), far from centred, and targets of -1 and 1."""
    generator = np.random.default_rng([seed, num_examples, num_features])
    basis = generator.standard_normal((rank, num_features))
    shift = 3 * generator.standard_normal(num_features)
    features, others = (generator.standard_normal((n, rank)) @ basis + shift for n in (num_examples, 30))
    targets = 2.0 * np.eye(num_classes)[generator.integers(0, num_classes, num_examples)] - 1.0
    return features.astype(np.float32), others.astype(np.float32), targets


def design(features: NDArray[np.float32], like: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (n, d + 1): standardised as the authors do it, with their constant of 100."""
    wide = like.astype(np.float64)
    standardised = (features - wide.mean(axis=0)) / (wide.std(axis=0) + 1e-5)
    return np.concatenate([standardised, np.full((len(features), 1), 100.0)], axis=1)


def normal_equations(a: NDArray[np.float64], y: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ y)
    return weights


def all_scores(ridge: Ridge, features: NDArray[np.float32], num_classes: int) -> NDArray[np.float64]:
    """Return the scores (penalties, m, K), put together from their blocks."""
    whole = np.full((len(penalties), len(features), num_classes), np.nan)
    for rows, some, scores in ridge.scores(features, penalties):
        whole[some, rows] = scores
    return whole


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scores_are_those_of_the_normal_equations(shape: tuple[int, int, int, int]) -> None:
    features, others, targets = made_up(*shape)
    found = all_scores(decompose(features, targets), others, shape[3])
    a, b = design(features, features), design(others, features)
    for penalty, scores in zip(PENALTIES, found, strict=True):
        expected = b @ normal_equations(a, targets, penalty)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.integers(1, 60), st.integers(1, 60), st.integers(2, 6), st.integers(0, 9))
def test_scores_are_those_of_the_normal_equations_for_any_shape(
    num_examples: int, num_features: int, rank: int, num_classes: int, seed: int
) -> None:
    features, others, targets = made_up(num_examples, num_features, min(rank, num_features), num_classes, seed)
    found = all_scores(decompose(features, targets), others, num_classes)
    a, b = design(features, features), design(others, features)
    for index in (0, 10, 20, 30):
        expected = b @ normal_equations(a, targets, PENALTIES[index])
        np.testing.assert_allclose(found[index], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if 1 < shape[0] < 100], ids=str)
def test_an_example_left_out_scores_as_if_it_had_not_been_there(shape: tuple[int, int, int, int]) -> None:
    features, _, targets = made_up(*shape)
    a = design(features, features)
    for _, some, scores in decompose(features, targets).scores_left_out(features, targets, penalties):
        for penalty, rows in zip(penalties[some], scores, strict=True):
            for left_out in range(0, len(a), max(1, len(a) // 4)):
                others = np.arange(len(a)) != left_out
                expected = a[left_out] @ normal_equations(a[others], targets[others], penalty)
                np.testing.assert_allclose(rows[left_out], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_a_feature_that_never_changes_is_no_trouble() -> None:
    features, others, targets = made_up(30, 8, 8, 3)
    features[:, 3] = others[:, 3] = 0.1
    ridge = decompose(features, targets)
    found = all_scores(ridge, others, 3)
    without = all_scores(decompose(np.delete(features, 3, axis=1), targets), np.delete(others, 3, axis=1), 3)
    np.testing.assert_allclose(found, without, rtol=0, atol=1e-6)
    assert (ridge.eigenvalues >= 0).all()


def photos(
    num_classes: int = 4, per_class: int = 30, spread: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[str]]:
    generator = np.random.default_rng(7)
    labels = np.tile(np.arange(num_classes), per_class)
    means = 3 * generator.standard_normal((num_classes, 12))
    features = means[labels] + spread * generator.standard_normal((len(labels), 12))
    return features.astype(np.float32), labels, [f"{label}/{index}" for index, label in enumerate(labels)]


NAMES = ("a", "b", "c", "d")


def test_accuracies_are_those_of_the_normal_equations_with_the_authors_and_the_chosen_penalty() -> None:
    features, labels, sample_ids = photos(spread=4.0)
    scored, truths = features[60:], labels[60:]
    options = FewShotOptions(shots=(2, 6), num_draws=2)
    examples = LabelledFeatures(features[:60], labels[:60], sample_ids[:60])
    results = few_shot(examples, LabelledFeatures(scored, truths), NAMES, options)
    assert [result.shots for result in results] == [2, 6]
    for result in results:
        for draw in result.draws:
            drawn = draw_examples(sample_ids[:60], labels[:60], NAMES, options)[draw.draw]
            chosen = np.sort(drawn[:, : result.shots], axis=None)
            targets = 2.0 * np.eye(4)[labels[chosen]] - 1.0
            a, b = design(features[chosen], features[chosen]), design(scored, features[chosen])
            for point in draw.curve:
                scores = b @ normal_equations(a, targets, point.penalty)
                assert point.top1 == np.mean(scores.argmax(axis=1) == truths)
                left_out = [
                    a[i] @ normal_equations(np.delete(a, i, 0), np.delete(targets, i, 0), point.penalty)
                    for i in range(len(a))
                ]
                assert point.left_out_error == pytest.approx(np.mean((np.array(left_out) - targets) ** 2))
            smallest = min(point.left_out_error for point in draw.curve)
            (taken,) = (point for point in draw.curve if point.penalty == draw.chosen_penalty)
            assert (taken.left_out_error, taken.top1) == (smallest, draw.chosen_top1)
            (authors,) = (point for point in draw.curve if point.penalty == 2.0**10)
            assert authors.top1 == draw.top1
        tops = [draw.top1 for draw in result.draws]
        assert result.mean == pytest.approx(np.mean(tops))
        assert result.spread == pytest.approx(np.std(tops, ddof=1))
        assert result.chosen_mean == pytest.approx(np.mean([draw.chosen_top1 for draw in result.draws]))


def test_the_choice_is_nearly_the_best_where_the_accuracy_without_an_example_misleads() -> None:
    # Many classes, two examples of each: the highest leave-one-out accuracy would choose 10 points less (0.26 of 0.365).
    generator = np.random.default_rng(1)
    means = generator.standard_normal((40, 160)) * 0.95 ** np.arange(160)
    labels = np.tile(np.arange(40), 60)
    features = means[labels] + generator.standard_normal((2400, 160)) * 0.97 ** np.arange(160)
    examples = LabelledFeatures(features[:800], labels[:800], [str(index) for index in range(800)])
    scored = LabelledFeatures(features[800:], labels[800:])
    names = [str(label) for label in range(40)]
    (result,) = few_shot(examples, scored, names, FewShotOptions(shots=(2,), num_draws=5))
    best = np.mean([max(point.top1 for point in draw.curve) for draw in result.draws])
    assert best > 0.35
    assert result.chosen_mean > best - 0.01


def test_the_photos_that_are_scored_choose_nothing() -> None:
    features, labels, sample_ids = photos(spread=4.0)
    one, other = (
        few_shot(
            LabelledFeatures(features[:60], labels[:60], sample_ids[:60]),
            LabelledFeatures(scored, labels[60:]),
            NAMES,
            FewShotOptions(shots=(5,), num_draws=4),
        )
        for scored in (features[60:], features[60:][::-1])
    )
    assert [draw.chosen_penalty for draw in one[0].draws] == [draw.chosen_penalty for draw in other[0].draws]
    assert [draw.top1 for draw in one[0].draws] != [draw.top1 for draw in other[0].draws]


def test_with_one_example_a_class_the_penalty_is_the_authors() -> None:
    features, labels, sample_ids = photos()
    (result,) = few_shot(
        LabelledFeatures(features, labels, sample_ids),
        LabelledFeatures(features, labels),
        NAMES,
        FewShotOptions(shots=(1,)),
    )
    assert {draw.chosen_penalty for draw in result.draws} == {AUTHORS_PENALTY}
    assert all(point.left_out_error is None for point in result.draws[0].curve)
    assert result.mean == result.chosen_mean


def test_draws_follow_from_seed_draw_and_identity_alone() -> None:
    _, labels, sample_ids = photos()
    names = np.array(sample_ids)
    first = draw_examples(sample_ids, labels, NAMES, FewShotOptions(shots=(5,), num_draws=1))[0]
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = draw_examples(
        [sample_ids[i] for i in order], labels[order], NAMES, FewShotOptions(shots=(5,), num_draws=1)
    )[0]
    assert np.array_equal(names[first], names[order][shuffled])
    fewer = draw_examples(sample_ids, labels, NAMES, FewShotOptions(shots=(2,), num_draws=1))[0]
    assert np.array_equal(first[:, :2], fewer)
    drawn = np.unique(first)  # as if the data set were smaller
    again = draw_examples(
        [sample_ids[i] for i in drawn], labels[drawn], NAMES, FewShotOptions(shots=(5,), num_draws=1)
    )[0]
    assert np.array_equal(names[first], names[drawn][again])
    other_seed, other_draw = (
        draw_examples(sample_ids, labels, NAMES, FewShotOptions(shots=(5,), num_draws=2, seed=seed))[draw]
        for seed, draw in ((1, 0), (0, 1))
    )
    assert not np.array_equal(first, other_seed)
    assert not np.array_equal(first, other_draw)
    assert (labels[first] == np.arange(4)[:, None]).all()
    assert len(drawn) == first.size


def test_every_example_is_drawn_equally_often() -> None:
    _, labels, sample_ids = photos(num_classes=2, per_class=10)
    counts = np.zeros(20)
    for drawn in draw_examples(sample_ids, labels, NAMES, FewShotOptions(shots=(3,), num_draws=2000)):
        counts[drawn] += 1
    # 2,000 draws with probability 0.3: a standard deviation of 20.5.
    assert np.abs(counts - 600).max() < 5 * 20.5


def test_classes_with_too_few_examples_are_all_named() -> None:
    features, labels, sample_ids = photos()
    kept = np.flatnonzero((labels % 2 == 0) | (np.arange(len(labels)) < 12))  # 3 of "b" and of "d"
    with pytest.raises(DataError, match=r"^5 examples .* 2 of 4 classes have fewer .*: b \(3\), d \(3\)\. Use"):
        few_shot(
            LabelledFeatures(features[kept], labels[kept], [sample_ids[i] for i in kept]),
            LabelledFeatures(features, labels),
            NAMES,
            FewShotOptions(shots=(1, 5)),
        )


def test_a_class_to_score_that_has_no_examples_is_named_and_one_without_photos_is_not_missed() -> None:
    features, labels, sample_ids = photos()
    kept = np.flatnonzero(labels != 2)
    kept_ids = [sample_ids[i] for i in kept]
    examples, options = LabelledFeatures(features[kept], labels[kept], kept_ids), FewShotOptions(shots=(5,))
    with pytest.raises(DataError, match=r"1 classes have photos to score but none in the train split: c\."):
        few_shot(examples, LabelledFeatures(features, labels), NAMES, options)
    with_gap = few_shot(examples, LabelledFeatures(features[kept], labels[kept]), NAMES, options)
    numbers = np.array([0, 1, -1, 2])
    names = ("a", "b", "d")
    renumbered = LabelledFeatures(features[kept], numbers[labels[kept]], kept_ids)
    dense = few_shot(renumbered, renumbered, names, options)
    assert with_gap == dense


@pytest.mark.parametrize("arguments", [{"shots": ()}, {"shots": (0, 5)}, {"num_draws": 0}])
def test_impossible_numbers_are_config_errors(arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected numbers of at least 1"):
        FewShotOptions(**arguments)


def test_features_that_are_not_finite_are_counted() -> None:
    features, labels, sample_ids = photos()
    bad = features.copy()
    bad[3, 2], bad[5, 0] = np.nan, np.inf
    with pytest.raises(DataError, match="2 of 120 examples are NaN or infinite"):
        few_shot(LabelledFeatures(bad, labels, sample_ids), LabelledFeatures(features, labels), NAMES)
    with pytest.raises(DataError, match="2 of 120 photos to score are NaN or infinite"):
        few_shot(LabelledFeatures(features, labels, sample_ids), LabelledFeatures(bad, labels), NAMES)
    with pytest.raises(DataError, match="no photos to score"):
        few_shot(LabelledFeatures(features, labels, sample_ids), LabelledFeatures(features[:0], labels[:0]), NAMES)


def test_arrays_that_do_not_fit_together_are_named() -> None:
    features, labels, sample_ids = photos()
    wrong = [
        (
            (features, labels[1:], sample_ids),
            (features, labels),
            r"examples have shape \(120, \d+\) and their labels \(119,\)",
        ),
        ((features, labels, sample_ids), (features[0], labels), r"photos to score have shape \(\d+,\)"),
        ((features, labels, sample_ids), (features[:, 1:], labels), "expected features of the same network"),
        (
            (features, labels + 1, sample_ids),
            (features, labels),
            rf"examples contain {len(NAMES)}; expected class indices from 0 to",
        ),
        (
            (features, labels, sample_ids),
            (features, labels - 1),
            "photos to score contain -1; expected class indices from 0 to",
        ),
        ((features, labels, sample_ids[1:]), (features, labels), "120 examples have 119 sample IDs"),
        (
            (features, labels, ["x"] * 120),
            (features, labels),
            "120 examples have 120 sample IDs, of which 1 are distinct",
        ),
    ]
    for examples, scored, message in wrong:
        with pytest.raises(DataError, match=message):
            few_shot(LabelledFeatures(*examples), LabelledFeatures(*scored), NAMES, FewShotOptions(shots=(1,)))


def test_to_dict_is_json() -> None:
    features, labels, sample_ids = photos()
    whole = LabelledFeatures(features, labels, sample_ids)
    (result,) = few_shot(whole, whole, NAMES, FewShotOptions(shots=(5,), num_draws=1))
    facts = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (facts["shots"], facts["top1"], facts["spread"]) == (5, result.mean, 0.0)
    assert (facts["penalty"], facts["chosen_top1"]) == (1024, result.chosen_mean)
    assert [point["penalty"] for point in facts["draws"][0]["curve"]] == list(PENALTIES)


def test_examples_that_were_drawn_before_are_those_that_are_fitted() -> None:
    features, labels, sample_ids = photos(spread=4.0)
    whole, options = LabelledFeatures(features, labels, sample_ids), FewShotOptions(shots=(2, 5), num_draws=2)
    drawn = draw_examples(sample_ids, labels, NAMES, options)
    indices, positions = np.unique(drawn, return_inverse=True)
    part = LabelledFeatures(features[indices], labels[indices], [sample_ids[i] for i in indices])
    assert few_shot(part, whole, NAMES, options, drawn=positions.reshape(drawn.shape)) == few_shot(
        whole, whole, NAMES, options
    )
