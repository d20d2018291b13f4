"""Pixels of PIL images: those that a lossless file of them decodes to."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from allmlp.data import decode, to_pixels
from allmlp.errors import DataError

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (23, 17, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def with_transparency(image: Image.Image, transparency: int | bytes | tuple[int, ...]) -> Image.Image:
    image.info["transparency"] = transparency
    return image


def images() -> dict[str, Image.Image]:
    rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY)
    alpha = Image.fromarray(np.dstack([RGB, GREY]))
    deep = Image.fromarray(GREY.astype(np.uint16) * 199)
    palette = rgb.quantize(31)
    return {
        "1": rgb.convert("1"),
        "L": grey,
        "L transparent": with_transparency(grey.copy(), int(GREY[3, 3])),
        "LA": alpha.convert("LA"),
        "P": palette,
        "P transparent": with_transparency(palette.copy(), 3),
        "P half transparent": with_transparency(palette.copy(), bytes(range(0, 248, 8))),
        "P of RGBA": alpha.quantize(31),
        "RGB": rgb,
        "RGB transparent": with_transparency(rgb.copy(), tuple(int(value) for value in RGB[2, 2])),
        "RGBA": alpha,
        "RGBa": alpha.convert("RGBa"),
        "PA": alpha.convert("PA"),
        "CMYK": rgb.convert("CMYK"),
        "YCbCr": rgb.convert("YCbCr"),
        "HSV": rgb.convert("HSV"),
        "I;16": deep,
        "I;16 transparent": with_transparency(deep.copy(), int(GREY[1, 1]) * 199),
    }


def through_a_png(image: Image.Image) -> np.ndarray:
    """Return what the decoder makes of the image as a file without loss, which is how PIL images once were taken."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("RGBa", "PA"):
        upright = upright.convert("RGBA")
    if upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        upright = upright.convert("RGB")
    content = io.BytesIO()
    upright.save(content, "PNG", compress_level=0, icc_profile=None, exif=None)
    return decode(content.getvalue(), name="photo")


@pytest.mark.parametrize("kind", images())
def test_an_image_of_any_mode_has_the_pixels_of_its_file(kind: str) -> None:
    image = images()[kind]
    before = image.copy()
    found = to_pixels(image, name="photo")
    assert (found.shape, found.dtype) == ((23, 17, 3), np.uint8)
    np.testing.assert_array_equal(found, through_a_png(image))
    assert image == before


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    Image.fromarray(RGB).save(content, form, exif=exif)
    with Image.open(content) as image:
        np.testing.assert_array_equal(to_pixels(image, name="photo"), through_a_png(image))
    with Image.open(content) as image:
        np.testing.assert_array_equal(to_pixels(image, name="photo"), decode(content.getvalue(), name="photo"))


def test_a_white_is_zero_tiff_of_16_bits_is_inverted_whether_opened_by_pil_or_not() -> None:
    content = io.BytesIO()
    Image.fromarray(GREY.astype(np.uint16) * 199).save(content, "TIFF", tiffinfo={262: 0})
    with Image.open(content) as image:
        np.testing.assert_array_equal(to_pixels(image, name="photo"), decode(content.getvalue(), name="photo"))


def test_sizes_beyond_the_limits_and_empty_images_are_refused() -> None:
    for size in ((8000, 8000), (70_000, 1), (0, 5)):
        with pytest.raises(DataError, match=rf"^photo: this PIL image cannot be used: .*{size[0]} x {size[1]} pixels"):
            to_pixels(Image.new("1", size), name="photo")
