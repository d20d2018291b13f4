"""HEIC and AVIF: named as what they are without the extra, read with it."""

import io

import numpy as np
import pytest
from PIL import Image, features
from tests.data.decoding.encoded import PHOTO, encode, refusal

from allmlp.data import decode, to_pixels
from allmlp.data.decoding import decode as decoding
from allmlp.data.decoding.more_formats import HEIC_KINDS, has_heic
from allmlp.io.file_kinds import PHOTO_EXTENSIONS, PHOTO_KINDS

HEIC_STARTS = [b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1"]


@pytest.mark.skipif(has_heic(), reason="the extra is installed")
def test_without_the_extra_they_are_named_with_the_way_out() -> None:
    for content, kind in [(b"\0\0\0\x18" + start + bytes(40), "a HEIC image") for start in HEIC_STARTS]:
        assert f"this is {kind}. To read it, pip install 'allmlp[heic]'; or save it as JPEG." in refusal(content)
    for start in (b"ftypavif", b"ftypavis", b"ftypmif1\0\0\0\0mif1avif", b"ftypmif1\0\0\0\0avif"):
        assert "this is an AVIF image. To read it" in refusal(b"\0\0\0\x20" + start + bytes(40))


@pytest.mark.parametrize("start", [b"ftypisom", b"ftypmp42", b"ftypqt  ", b"ftypM4V "])
def test_videos_are_named(start: bytes) -> None:
    assert "this is a video (MP4 or QuickTime)" in refusal(b"\0\0\0\x20" + start + bytes(40))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow does not read AVIF")
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_avif_is_read_upright_within_the_limits(monkeypatch: pytest.MonkeyPatch, orientation: int) -> None:
    monkeypatch.setattr(decoding, "has_heic", lambda: True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(PHOTO, "AVIF", quality=100, subsampling="4:4:4", exif=exif)
    photo = decode(content, name="x")
    assert photo.shape == ((48, 72, 3) if orientation < 5 else (72, 48, 3))
    np.testing.assert_array_equal(to_pixels(Image.open(io.BytesIO(content)), name="x"), photo)
    refusal(content[: len(content) // 2])
    assert "the limit is 50,000,000" in refusal(encode(Image.new("L", (10_000, 5_001)), "AVIF", speed=10))


def test_a_heic_is_read() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(PHOTO).save(buffer, quality=-1)
    photo = decode(buffer.getvalue(), name="x")
    assert np.abs(photo.astype(int) - np.asarray(PHOTO)).mean() < 3
    refusal(buffer.getvalue()[:-200])


def test_every_kind_of_photo_has_one_reader_and_an_extension() -> None:
    kinds = {*PHOTO_KINDS, *HEIC_KINDS}
    assert set(decoding._READERS) == kinds <= set(PHOTO_EXTENSIONS.values())
    assert {kind.name for kind in PHOTO_KINDS} <= set(Image.registered_extensions().values())
