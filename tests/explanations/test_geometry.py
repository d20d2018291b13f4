"""Geometry: a part of a photo that is painted white is seen by its patch, and by no other."""

import itertools
from typing import Any

import numpy as np
import pytest

from allmlp import Preprocessing
from allmlp.explanations.geometry import patch_geometry

SETTINGS: list[dict[str, Any]] = [
    {"fit": "crop"},
    {"fit": "crop", "crop_fraction": 0.8},
    {"fit": "squash", "crop_fraction": 0.8},
    {"fit": "pad"},
    {"fit": "crop", "crop_fraction": 0.875, "law": "timm"},
    {"fit": "crop", "crop_fraction": 0.875, "law": "big_vision", "interpolation": "bilinear"},
    {"fit": "squash", "law": "vit_jax", "interpolation": "bilinear"},
]


@pytest.mark.parametrize("size", [(32, 48), (300, 450), (300, 200), (64, 500), (500, 61)])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_each_patch_sees_its_box_of_the_photo(settings: dict[str, Any], size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(image_size=(32, 48), mean=(0.0, 0.0, 0.0), **settings)
    geometry = patch_geometry(preprocessing, (2, 3), size)
    num_seen = 0
    for row, column in itertools.product(range(2), range(3)):
        top, left, bottom, right = geometry.box(row, column)
        # Inside of the box by two pixels of the input, for filters reach across the border.
        y, x = 2 * (bottom - top) / 16, 2 * (right - left) / 16
        spans = [(max(0, round(top + y)), round(bottom - y)), (max(0, round(left + x)), round(right - x))]
        photo = np.zeros((*size, 3), np.uint8)
        photo[slice(*spans[0]), slice(*spans[1])] = 255
        if not photo.any():  # with "pad", a patch may show the background alone
            continue
        num_seen += 1
        patches = preprocessing.resize(photo)[..., 0].reshape(2, 16, 3, 16).mean(axis=(1, 3))
        assert patches[row, column] > 8
        patches[row, column] = 0
        assert patches.max() < 2.5, (row, column)
    assert num_seen == 6 or (settings["fit"] == "pad" and num_seen >= 2)


def test_what_is_cut_off_is_outside_of_the_edges() -> None:
    geometry = patch_geometry(Preprocessing(image_size=32), (4, 4), (100, 200))
    assert geometry.shown == (0, 50, 100, 150)
    np.testing.assert_array_equal(geometry.edges(1), [50, 75, 100, 125, 150])
    padded = patch_geometry(Preprocessing(image_size=32, fit="pad"), (4, 4), (100, 200))
    assert padded.shown == (-50, 0, 150, 200)
    assert padded.to_json_object() == {
        "photo_size": {"height": 100, "width": 200},
        "shown": {"top": -50, "left": 0, "bottom": 150, "right": 200},
        "grid": {"rows": 4, "columns": 4},
    }
