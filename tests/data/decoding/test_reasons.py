"""The kind of a photo's fault, by which `allmlp serve` chooses a status, and what is said without advice for this machine."""

import struct

import pytest
from tests.data.decoding.encoded import PHOTO, encode, png_chunk
from tests.data.decoding.faulty_photos import faulty_photos

from allmlp.data import PhotoError, decode


def error_of(content: bytes) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        decode(content, name="x")
    return caught.value


@pytest.mark.parametrize("name", faulty_photos())
def test_every_fault_is_of_its_kind(name: str) -> None:
    fault, content = faulty_photos()[name]
    error = error_of(content)
    assert error.fault == fault, str(error)
    assert error.reason.endswith(".")
    assert not any(words in error.reason for words in ("--", "pip install", "Save it", "Replace"))


def test_too_many_chunks_are_a_limit() -> None:
    whole = encode(PHOTO, "PNG")
    assert error_of(whole[:33] + png_chunk(b"IDAT", b"") * 200_000 + whole[33:]).fault == "limit"


def test_a_raw_photo_is_of_another_format() -> None:
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 32803, 273: 8, 277: 1, 278: 8, 279: 64}  # 262: a colour filter array
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    assert error_of(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)).fault == "format"


def test_advice_for_this_machine_is_not_part_of_the_reason() -> None:
    error = error_of(faulty_photos()["panorama of 54 megapixels"][1])
    assert "--max-megapixels 54" in str(error)
    assert error.reason == "it has 12000 x 4500 pixels; the limit is 50,000,000."
