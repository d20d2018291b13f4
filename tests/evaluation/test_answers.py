"""Answers of two models: which classes and which "unknown" changed, and which of these are ties."""

from collections.abc import Sequence

import numpy as np
import pytest

from allmlp.evaluation import Answers, changed_answers

NAMES = ("cat", "dog", "yak")


def answers(
    logits: Sequence[Sequence[float]], margins: Sequence[float] | None = None, names: tuple[str, ...] = NAMES
) -> Answers:
    return Answers(names, np.float32(logits), None if margins is None else np.array(margins))


def test_classes_are_compared_by_name() -> None:
    before = answers([[3, 1, 0], [0, 3, 1], [0, 1, 3]])
    same = answers([[0, 1, 3], [1, 3, 0], [3, 1, 0]], names=NAMES[::-1])
    assert changed_answers(before, same).num_same == 3
    changed = changed_answers(before, answers([[3, 1, 0], [3, 0, 1], [0, 3, 1]]))
    assert changed.by_class.tolist() == [False, True, True] and changed.num_same == 1
    assert not changed.by_unknown.any()


def test_an_answer_that_became_unknown_or_no_longer_is_has_changed() -> None:
    logits = [[3, 1, 0]] * 4
    changed = changed_answers(answers(logits, [1, -1, 2, -2]), answers(logits, [1, 1, -1, -1]))
    assert changed.by_unknown.tolist() == [False, True, True, False]
    assert (changed.num_same, changed.by_class.any()) == (2, False)
    assert changed_answers(answers(logits, [1, -1, 2, -2]), answers(logits)).num_same == 2  # of one without a threshold


@pytest.mark.parametrize(
    ("gap", "margin", "rounding", "is_tie"),
    [
        (0.19, 9.0, 0.1, True),  # each of the two logits may move by 0.1
        (0.21, 9.0, 0.1, False),
        (0.0, 9.0, 0.0, True),
        (0.19, -0.05, 0.1, True),  # both change, and both by rounding
        (0.19, -0.3, 0.1, False),
        (float("nan"), 9.0, 0.1, False),
    ],
)
def test_what_is_nearer_than_rounding_is_a_tie(gap: float, margin: float, rounding: float, is_tie: bool) -> None:
    before = answers([[1 + gap, 1, 0]] if gap == gap else [[float("nan"), 1, 0]], [margin])
    changed = changed_answers(before, answers([[1, 2, 0]], [1.0]), logit_rounding=rounding, score_rounding=rounding)
    assert changed.by_class.tolist() == [True] and changed.by_unknown.tolist() == [margin < 0]
    assert changed.is_tie.tolist() == [is_tie]


def test_photos_with_the_same_answer_are_no_ties() -> None:
    before = answers([[1, 1, 0], [1, 1, 0]], [0.0, 0.0])
    assert not changed_answers(before, before, logit_rounding=9.0, score_rounding=9.0).is_tie.any()


def test_a_class_that_the_first_model_does_not_know_is_no_tie() -> None:
    changed = changed_answers(
        answers([[1, 1, 0]]), answers([[9, 1, 0]], names=("ox", "dog", "yak")), logit_rounding=9.0
    )
    assert changed.by_class.all() and not changed.is_tie.any()
