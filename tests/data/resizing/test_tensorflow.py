"""TensorFlow's resize in NumPy: TensorFlow's own pixels, torch's interpolation, and the definition of a mean over an area."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from allmlp.data.resizing.tensorflow import Window, resize_area, resize_bilinear

with np.load(Path(__file__).parents[2] / "golden" / "tensorflow_expected.npz") as file:
    GOLDEN = dict(file)
PHOTOS = [name for name in GOLDEN if "/" not in name and name != "draws"]


def whole(size: tuple[int, int]) -> Window:
    return Window(0, 0, *size)


def random_photo(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1_000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def area_weights(length: int, out: int) -> NDArray[np.float64]:
    """Return (out, length): the share of each pixel in the mean over length / out pixels, in float64."""
    edges = np.arange(out + 1) * length / out
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * out / length


@pytest.mark.parametrize("name", PHOTOS)
def test_bilinear_pixels_are_tensorflows_to_the_bit(name: str) -> None:
    np.testing.assert_array_equal(resize_bilinear(GOLDEN[name], (14, 14), whole((14, 14))), GOLDEN[f"{name}/vit_jax"])


@pytest.mark.parametrize(("shape", "size"), [((37, 50), (14, 20)), ((9, 13), (30, 16)), ((64, 48), (32, 48))])
def test_bilinear_is_torchs_without_antialiasing(shape: tuple[int, int], size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    photo = random_photo(*shape)
    images = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=False)
    ours = resize_bilinear(photo, size, whole(size))
    np.testing.assert_allclose(
        ours, expected[0].permute(1, 2, 0).numpy(), atol=1e-3
    )  # float32 at 255, in another order


@pytest.mark.parametrize("shape", [(28, 40), (14, 20), (42, 60)])
def test_area_is_torchs_for_whole_ratios(shape: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    photo = random_photo(*shape)
    images = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(images, (14, 20), mode="area")
    ours = resize_area(photo, (14, 20), whole((14, 20)))
    np.testing.assert_allclose(ours, expected[0].permute(1, 2, 0).numpy(), atol=1e-3)


@pytest.mark.parametrize(("shape", "size"), [((37, 50), (14, 20)), ((9, 13), (30, 16)), ((375, 500), (256, 341))])
def test_area_is_the_mean_over_the_area_of_a_pixel(shape: tuple[int, int], size: tuple[int, int]) -> None:
    photo = random_photo(*shape)
    rows, columns = (area_weights(length, out) for length, out in zip(shape, size, strict=True))
    expected = np.einsum("ih,hwc,jw->ijc", rows, photo.astype(np.float64), columns, optimize=True)
    np.testing.assert_allclose(resize_area(photo, size, whole(size)), expected, atol=0.01)  # edges of pixels in float32


@pytest.mark.parametrize("resize", [resize_bilinear, resize_area])
def test_a_window_is_a_part_of_the_whole(resize) -> None:
    photo, size = random_photo(37, 50), (21, 29)
    part = resize(photo, size, Window(4, 7, 11, 13))
    np.testing.assert_array_equal(part, resize(photo, size, whole(size))[4:15, 7:20])
