"""The rule of "unknown": copies of photos count once, and photos that are too alike give no rule."""

import numpy as np
import pytest

from allmlp.evaluation import unknown_rule
from allmlp.metrics import closeness

RANDOM = np.random.default_rng(0)
PHOTOS = RANDOM.normal(size=(40, 16)).astype(np.float32)


def test_copies_of_photos_change_no_rule() -> None:
    rule = unknown_rule(PHOTOS)
    assert rule is not None
    assert rule.num_photos == 40
    assert unknown_rule(np.concatenate([PHOTOS, PHOTOS[:25], PHOTOS])) == rule
    new = RANDOM.normal(size=(200, 16)).astype(np.float32)
    assert (closeness(new, rule.matrix(16)) >= rule.threshold).mean() > 0.5


@pytest.mark.parametrize("number", [1, 2, 29])
@pytest.mark.parametrize("noise", [0, 1e-6])
def test_few_photos_with_many_copies_give_no_rule(number: int, noise: float) -> None:
    features = np.tile(PHOTOS[:number], (40, 1))
    rounded = features * (1 + noise * RANDOM.normal(size=features.shape))
    assert unknown_rule(rounded.astype(np.float32)) is None
    assert unknown_rule(rounded.astype(np.float32), left_out=np.zeros(len(rounded))) is None


def test_a_model_whose_features_are_constant_has_no_rule() -> None:
    assert unknown_rule(np.full((40, 16), 0.7, np.float32)) is None
    assert unknown_rule(np.zeros((40, 16), np.float32)) is None
