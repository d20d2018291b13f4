"""Heat maps: colours by sign and size, in the right place, and what the model does not see nearly white."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.builders import tiny_checkpoint

from allmlp import ConfigError, Preprocessing, explain, overlay
from allmlp.explanations.geometry import PatchGeometry, patch_geometry
from allmlp.explanations.pictures import AGAINST_COLOUR, FOR_COLOUR, heat_map

VALUES = np.array([[1.0, 0.0], [-1.0, 0.5]], np.float32)


def drawn(geometry: PatchGeometry, *, scale: float = 1.0, smooth: bool = False) -> NDArray[np.int64]:
    photo = np.full((40, 80, 3), 100, np.uint8)
    return np.array(heat_map(photo, VALUES, geometry, scale=scale, smooth=smooth)).astype(np.int64)


def mixed(colour: tuple[int, int, int], opacity: float) -> NDArray[np.float64]:
    return 100 * (1 - opacity) + np.array(colour) * opacity


def test_tiles_have_the_colour_of_their_value_and_only_the_shown_part_is_tinted() -> None:
    pixels = drawn(patch_geometry(Preprocessing(image_size=16), (2, 2), (400, 800)))
    for (y, x), expected in {
        (10, 25): mixed(FOR_COLOUR, 0.85),
        (10, 45): mixed(FOR_COLOUR, 0),
        (30, 25): mixed(AGAINST_COLOUR, 0.85),
        (30, 45): mixed(FOR_COLOUR, 0.425),
    }.items():
        np.testing.assert_allclose(pixels[y, x], expected, atol=1)
    assert (pixels[:, :20] > 200).all()
    assert (pixels[:, 60:] > 200).all()
    assert (pixels[:, 20:60] < 250).all()


def test_a_smooth_map_agrees_with_the_tiles_at_their_centres_and_does_not_exceed_them() -> None:
    geometry = patch_geometry(Preprocessing(image_size=16, fit="squash"), (2, 2), (40, 80))
    tiles, smooth = drawn(geometry), drawn(geometry, smooth=True)
    assert np.abs(tiles[9, 19] - smooth[9, 19]).max() <= 6
    assert np.abs(np.diff(smooth[..., 0], axis=1)).max() < np.abs(np.diff(tiles[..., 0], axis=1)).max() / 5
    np.testing.assert_array_equal(tiles[0, 0], smooth[0, 0])


def test_a_scale_of_zero_leaves_the_photo_grey() -> None:
    geometry = patch_geometry(Preprocessing(image_size=16, fit="squash"), (2, 2), (40, 80))
    assert (drawn(geometry, scale=0.0) == 100).all()


def test_an_overlay_has_the_size_of_the_reduced_photo() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (700, 1400, 3), dtype=np.uint8)
    found = explain(tiny_checkpoint(), photo, occlusion=True)
    assert overlay(found).size == (512, 256)
    first = np.array(overlay(found, found.classes[1], smooth=True))
    assert (first != np.array(overlay(found, found.classes[1]))).any()
    against = overlay(found, found.classes[0], against=found.classes[1], kind="occlusion")
    assert against.size == (512, 256)


def test_occlusion_that_was_not_computed_is_an_error() -> None:
    found = explain(tiny_checkpoint(), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(ConfigError, match="has no occlusion; ask for it"):
        overlay(found, kind="occlusion")
    with pytest.raises(ConfigError, match="'hat' is not a class"):
        overlay(found, "hat")
