"""A small Mixer and photos of many sizes, for all tests of inference."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint


@pytest.fixture
def checkpoint() -> Checkpoint:
    return tiny_checkpoint(image_size=(16, 24), hidden_dim=16, tokens_mlp_dim=16, channels_mlp_dim=32, num_classes=7)


@pytest.fixture
def photos() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(1)
    return [
        random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for height, width in ((16, 24), (40, 30), (9, 70), (33, 33), (16, 24), (1, 1), (50, 20))
    ]
