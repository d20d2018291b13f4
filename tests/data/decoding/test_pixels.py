"""Pixels of PIL images: those that a lossless file of them decodes to."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.data.decoding.encoded import PHOTO, encode, png, refusal

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


def stored_forms() -> list[tuple[str, str, Image.Image]]:
    rgb = Image.fromarray(RGB)
    alpha = Image.fromarray(np.dstack([RGB, GREY]))
    tiffs = {mode: alpha.convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F")}
    tiffs |= {"PA": alpha.convert("PA"), "LAB": Image.merge("LAB", rgb.split()), "RGBX": rgb.convert("RGBX")}
    deep = Image.fromarray(GREY.astype(np.uint16) * 199)
    forms = [(f"TIFF {mode}", "TIFF", image) for mode, image in tiffs.items()]
    forms += [(f"PNG {mode}", "PNG", alpha.convert(mode)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]
    forms += [(f"WebP {mode}", "WEBP", alpha.convert(mode)) for mode in ("L", "RGB", "RGBA")]
    forms += [("GIF P", "GIF", alpha.convert("P")), ("JPEG CMYK", "JPEG", rgb.convert("CMYK"))]
    forms += [("TIFF I;16", "TIFF", deep), ("PNG I;16", "PNG", deep)]
    return [*forms, ("BMP L", "BMP", rgb.convert("L")), ("BMP RGBA", "BMP", alpha), ("BMP 1", "BMP", rgb.convert("1"))]


@pytest.mark.parametrize(
    ("kind", "image"), [form[1:] for form in stored_forms()], ids=[form[0] for form in stored_forms()]
)
def test_an_image_that_pil_opened_is_what_its_file_is(kind: str, image: Image.Image) -> None:
    content = io.BytesIO()
    image.save(content, kind)
    try:
        by_file = decode(content.getvalue(), name="photo")
    except DataError as error:
        assert "32-bit samples without a declared range" in str(error)
        with pytest.raises(DataError, match="32-bit samples without a declared range"):
            to_pixels(Image.open(content), name="photo")
        return
    np.testing.assert_array_equal(to_pixels(Image.open(content), name="photo"), by_file)


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA", "LA", "RGBA"])
def test_alpha_is_composited_on_white_in_every_mode_that_has_it(mode: str) -> None:
    transparent = Image.new("RGBA", (3, 2), (200, 10, 60, 0))
    for step in {"La": ("LA", "La"), "PA": ("PA",)}.get(mode, (mode,)):
        transparent = transparent.convert(step)
    np.testing.assert_array_equal(to_pixels(transparent, name="photo"), 255)


def test_exif_with_a_signed_rational_is_read_both_ways() -> None:
    path = Path(__file__).parents[2] / "cases" / "photos" / "exif_signed_rational.jpg"
    np.testing.assert_array_equal(to_pixels(Image.open(path), name="x"), decode(path.read_bytes(), name="x"))


TURNED = bytes.fromhex("457869660000 4d4d002a00000008 0001 011200030000000100060000 00000000")


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", TURNED, b"junk"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_the_same_both_ways(kind: str, exif: bytes) -> None:
    content = io.BytesIO()
    Image.fromarray(RGB).save(content, kind, exif=exif)
    np.testing.assert_array_equal(to_pixels(Image.open(content), name="x"), decode(content.getvalue(), name="x"))


def test_a_photo_with_transparent_pixels_and_many_rows_is_converted_in_strips_without_seams() -> None:
    alpha = np.random.default_rng(3).integers(0, 256, (1_500, 1_000, 4), dtype=np.uint8)
    image = Image.fromarray(alpha)
    expected = Image.new("RGB", image.size, "white")
    expected.paste(image, mask=image)
    np.testing.assert_array_equal(to_pixels(image, name="x"), np.asarray(expected))


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("TIFF", {"compression": "jpeg"}), ("PNG", {})]
)
def test_an_image_that_pil_opened_from_an_incomplete_file_is_refused_as_the_file_is(
    kind: str, options: dict[str, object]
) -> None:
    whole = encode(PHOTO, kind, **options)
    if kind == "PNG":
        cut = png(72, 48, bits=8, colour=2, rows=bytes(217) * 20)
    else:
        start = whole.index(b"\xff\xda") + 14
        end = whole.index(b"\xff\xd9", start)
        middle = (start + end) // 2
        cut = whole[:middle] + b"\xff\xd9" + (bytes(end - middle - 2) + whole[end:] if kind == "TIFF" else b"")
    refusal(cut)
    for file in (Image.open(io.BytesIO(cut)), Image.open(io.BytesIO(whole))):
        if file.fp.getvalue() == whole:
            np.testing.assert_array_equal(to_pixels(file, name="x"), decode(whole, name="x"))
        else:
            with pytest.raises(DataError, match=r"^x: "):
                to_pixels(file, name="x")
