"""Facts about photos are those that Pillow reads, also where no header is read again."""

import io
from collections.abc import Callable

import pytest
from PIL import Image
from tests.data.quality.troubled import clothing_photo, encoded

from allmlp.data.quality.photo_facts import photo_facts

FILES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encoded(clothing_photo(950)),
    "grey JPEG": lambda: encoded(clothing_photo(950).convert("L")),
    "CMYK JPEG": lambda: encoded(clothing_photo(950).convert("CMYK")),
    "JPEG of two pictures": lambda: _of_two("MPO"),
    "lossy WebP": lambda: encoded(clothing_photo(950), "WEBP"),
    "lossless WebP": lambda: encoded(clothing_photo(950), "WEBP", lossless=True),
    "transparent WebP": lambda: encoded(_transparent(), "WEBP"),
    "animated WebP": lambda: _of_two("WEBP"),
    "PNG with a palette": lambda: encoded(clothing_photo(950).quantize(16), "PNG"),
    "transparent PNG": lambda: encoded(_transparent(), "PNG"),
    "animated PNG": lambda: _of_two("PNG"),
    "animated GIF": lambda: _of_two("GIF"),
    "TIFF of two pages": lambda: _of_two("TIFF"),
}


def _of_two(kind: str) -> bytes:
    return encoded(clothing_photo(950), kind, save_all=True, append_images=[clothing_photo(960)])


def _transparent() -> Image.Image:
    image = clothing_photo(950)
    image.putalpha(90)
    return image


@pytest.mark.parametrize("name", FILES)
def test_properties_are_those_of_pillow(name: str) -> None:
    content = FILES[name]()
    facts = photo_facts(content)
    with Image.open(io.BytesIO(content)) as image:
        expected = (image.mode, getattr(image, "is_animated", False), image.has_transparency_data, image.size)
    assert (facts.mode, facts.is_animated, facts.has_transparency, facts.size) == expected


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_orientation_is_the_one_that_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    facts = photo_facts(encoded(clothing_photo(950).resize((40, 60)), kind, exif=exif))
    assert facts.orientation == orientation
    assert facts.size == ((60, 40) if orientation == 6 else (40, 60))
