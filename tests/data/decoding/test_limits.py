"""Limits of photos: the one that can be raised, and the share of memory of photos decoded at the same time."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.data.decoding.encoded import encode, refusal

from allmlp.data import DEFAULT_MAX_MEGAPIXELS, decode, set_max_megapixels
from allmlp.data.decoding.limits import reserve_pixels
from allmlp.errors import ConfigError

PANORAMA = Path(__file__).parents[2] / "cases" / "photos" / "panorama_54MP.png"


@pytest.fixture(autouse=True)
def _default_limit() -> Iterator[None]:
    yield
    set_max_megapixels(DEFAULT_MAX_MEGAPIXELS)


def test_a_panorama_is_refused_with_the_option_that_reads_it() -> None:
    assert "raise the limit: --max-megapixels 54, or allmlp.data.set_max_megapixels" in refusal(PANORAMA.read_bytes())
    set_max_megapixels(54)
    assert decode(PANORAMA.read_bytes(), name="x").shape == (4_500, 12_000, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_the_limit_holds_for_every_format(kind: str) -> None:
    content = encode(Image.new("L" if kind != "WEBP" else "RGB", (1_000, 1_001)), kind)
    set_max_megapixels(1)
    assert "it has 1000 x 1001 pixels; the limit is 1,000,000" in refusal(content)
    set_max_megapixels(2)
    assert decode(content, name="x").shape == (1_001, 1_000, 3)


@pytest.mark.parametrize("value", [0, -3, 10_000, 1.5, "60", None])
def test_a_limit_out_of_range_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="expected an integer from 1 to 4,000"):
        set_max_megapixels(value)  # type: ignore[arg-type]


def test_large_photos_are_decoded_one_after_another_and_small_ones_together() -> None:
    entered = [threading.Event(), threading.Event()]

    def work(number: int, num_pixels: int) -> threading.Thread:
        def hold() -> None:
            with reserve_pixels(num_pixels):
                entered[number].set()

        thread = threading.Thread(target=hold)
        thread.start()
        return thread

    with reserve_pixels(60_000_000):
        small = work(0, 1_000_000)
        small.join()
        large = work(1, 60_000_000)
        assert entered[0].is_set()
        assert not entered[1].is_set()
    large.join()
    assert entered[1].is_set()
    with reserve_pixels(2_000_000_000):  # alone, whatever its size
        pass


@pytest.mark.parametrize(("kind", "weight"), [("JPEG", 1), ("PNG", 1), ("TIFF", 1), ("WEBP", 2)])
def test_photos_weigh_what_their_decoder_takes(kind: str, weight: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[int] = []

    def reserve(num_pixels: int) -> contextlib.AbstractContextManager[None]:
        weights.append(num_pixels)
        return reserve_pixels(num_pixels)

    monkeypatch.setattr("allmlp.data.decoding.decode.reserve_pixels", reserve)
    decode(encode(Image.new("RGB", (50, 40)), kind), name="x")
    assert weights == [weight * 2_000]
