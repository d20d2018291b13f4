"""Mixers of several shapes, as what every export is tested with."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint, MixerConfig
from allmlp.exports import EXPORT_FORMATS

FILE_FORMATS = tuple(to for to, form in EXPORT_FORMATS.items() if not form.is_page)
"""The formats that an engine opens; a page holds a file of one of them."""

# Names that a list split at white space, XML or JSON written by hand would break.
NAMES = ("African elephant", "naïve 猫", "two\nlines", "tab\there", '"quoted" <&>', "a/b", " ")

SHAPES: dict[str, dict[str, Any]] = {
    "tanh, not square": {"image_size": (16, 24), "gelu": "tanh", "num_classes": 7, "class_names": NAMES},
    "erf": {"image_size": 32, "gelu": "erf", "num_classes": 5, "num_blocks": 3},
    "one class": {"image_size": (24, 8), "num_classes": 1, "patch_size": 4},
    "one token": {"image_size": 8, "num_classes": 2, "hidden_dim": 13},
    "many classes": {"num_classes": 1500, "num_blocks": 1, "temperature": 1.7},
}


def random_images(number: int, config: MixerConfig, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((number, 3, *config.image_size), dtype=np.float32)


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def mixer(request: pytest.FixtureRequest) -> Checkpoint:
    return tiny_checkpoint(**request.param)


@pytest.fixture
def checkpoint() -> Checkpoint:
    return tiny_checkpoint(**SHAPES["tanh, not square"])
