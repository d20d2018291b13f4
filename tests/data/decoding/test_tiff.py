"""TIFF files: missing strips and tiles, RAW photos, long lists, and silence."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from tests.data.decoding.encoded import PHOTO, encode, refusal

from allmlp.data import decode, to_pixels
from allmlp.errors import DataError


def tiff(values: dict[int, int | list[int]], data: bytes = b"") -> bytes:
    """Return a little-endian TIFF whose lists and picture data follow its directory; offsets in `values` count from there."""
    start = 8 + 2 + 12 * len(values) + 4
    lists, entries = b"", b""
    start_of_data = start + sum(4 * len(value) for value in values.values() if isinstance(value, list))
    for tag, value in values.items():
        if isinstance(value, list):
            numbers = [
                number + start_of_data if tag in (273, 324) and number >= 0 else max(number, 0) for number in value
            ]
            entries += struct.pack("<HHII", tag, 4, len(value), start + len(lists))
            lists += struct.pack(f"<{len(value)}I", *numbers)
        else:
            entries += struct.pack("<HHII", tag, 4, 1, value)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(values)) + entries + bytes(4) + lists + data


GRAY = {256: 32, 257: 32, 258: 8, 259: 1, 262: 1, 277: 1}
STRIPS = {**GRAY, 273: [0, 256, 512, 768], 278: 8, 279: [256] * 4}
TILES = {**GRAY, 322: 16, 323: 16, 324: [0, 256, 512, 768], 325: [256] * 4}
PLANES = {**GRAY, 258: [8] * 3, 262: 2, 277: 3, 284: 2, 273: [0, 1024, 2048], 278: 32, 279: [1024] * 3}


@pytest.mark.parametrize(
    ("values", "offsets", "counts"),
    [(STRIPS, 273, 279), (TILES, 324, 325), (PLANES, 273, 279)],
    ids=["strips", "tiles", "planes"],
)
def test_missing_empty_and_shared_pieces_are_refused(
    values: dict[int, int | list[int]], offsets: int, counts: int
) -> None:
    data = bytes(3 * 1024)
    values = dict(sorted(values.items()))
    places, sizes = values[offsets], values[counts]
    assert isinstance(places, list)
    assert isinstance(sizes, list)
    assert decode(tiff(values, data), name="x").shape == (32, 32, 3)
    for changed in (
        {offsets: places[:-1], counts: sizes[:-1]},
        {offsets: [*places[:-1], -1]},  # zero in the file: a piece that was never written
        {counts: [*sizes[:-1], 0]},
        {offsets: [places[0]] * len(places)},
    ):
        assert "strips or tiles of the picture are missing" in refusal(tiff({**values, **changed}, data))
    refusal(tiff(values, data[:500]))


@pytest.mark.parametrize(
    ("compression", "piece"),
    [(8, zlib.compress(bytes(256))), (32773, b"\x81\0" * 2), (5, bytes.fromhex("800000000040"))],
    ids=["deflate", "PackBits", "LZW"],
)
def test_compressed_pieces_that_are_missing_are_refused(compression: int, piece: bytes) -> None:
    size = len(piece)
    values = {**STRIPS, 259: compression, 273: [0, size, 2 * size, 3 * size], 279: [size] * 4}
    if compression != 5:
        assert decode(tiff(values, piece * 4), name="x").shape == (32, 32, 3)
    short = tiff({**values, 273: [0, size, 2 * size]}, piece * 4)
    assert "strips or tiles of the picture are missing" in refusal(short)  # libtiff may fill the rest with other bytes
    refusal(tiff({**values, 273: [0, size, 2 * size, -1], 279: [size, size, size, 0]}, piece * 4))
    refusal(tiff({**values, 279: [size, size, size, 1]}, piece * 4))


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_strips_of_jpeg_are_whole_or_refused(mode: str, share: float) -> None:
    whole = encode(PHOTO.convert(mode), "TIFF", compression="jpeg", strip_size=8 * 72 * len(mode))
    decode(whole, name="x")
    start = whole.index(b"\xff\xda") + 14
    end = whole.index(b"\xff\xd9", start)
    cut = start + int((end - start) * share)
    # The data end early, the end of the strip's JPEG is in its place, and the file is as long as before.
    refusal(whole[:cut] + b"\xff\xd9" + bytes(end - cut - 2) + whole[end:])


def test_uncompressed_strips_that_are_shorter_than_their_rows_are_refused() -> None:
    data = bytes(1024)
    assert "strips or tiles of the picture are missing" in refusal(tiff({**STRIPS, 279: [256, 100, 256, 256]}, data))


def test_raw_photos_are_named() -> None:
    gray = dict(sorted({**STRIPS, 254: 1, 330: 8}.items()))
    for content in (
        b"II*\0\x10\0\0\0CR\2\0" + bytes(60),  # Canon CR2
        tiff({**STRIPS, 50706: 0x0401}, bytes(1024)),  # Adobe DNG
        tiff(gray, bytes(1024)),  # Nikon NEF, Sony ARW: the first picture is a preview
        b"FUJIFILMCCD-RAW " + bytes(60),
        b"IIRO\x08\0\0\0" + bytes(60),  # Olympus ORF
        b"\0\0\0\x18ftypcrx " + bytes(60),  # Canon CR3
        tiff({**STRIPS, 259: 65535}, bytes(1024)),  # Pentax PEF
        tiff({**STRIPS, 259: 32770}, bytes(1024)),  # Samsung SRW
        tiff({**STRIPS, 262: 32803}, bytes(1024)),  # values of a sensor, as in Hasselblad 3FR
        tiff({**STRIPS, 262: 34892}, bytes(1024)),  # linear values
    ):
        assert "this is a RAW photo of a camera" in refusal(content)


def test_lists_of_hundreds_of_thousands_of_pieces_are_refused_before_they_are_read() -> None:
    number = 200_000
    values = {**GRAY, 256: 400, 257: 500, 322: 1, 323: 1, 324: list(range(number)), 325: [1] * number}
    assert "a list of 200,000 entries in its header; the limit is 70,000" in refusal(tiff(values, bytes(number)))


def test_damaged_metadata_cause_no_warning() -> None:
    content = tiff({**STRIPS, 305: 7, 700: 5, 34665: 3, 65000: 7}, bytes(1024))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(decode(content, name="x"), 0)
    assert not caught


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "lzma", "zstd"])
def test_libtiff_writes_nothing_about_damaged_pictures(compression: str, capfd: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "TIFF", compression=compression)
    damaged = bytearray(written.getvalue())
    damaged[8:408:7] = bytes(byte ^ 0xFF for byte in damaged[8:408:7])
    problem = "the TIFF is damaged: in one of its" if compression == "jpeg" else "the file is damaged."
    assert problem in refusal(bytes(damaged))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [{"compression": "group3"}, {"compression": "group4"}, {"compression": "tiff_ccitt"},
    {"compression": "group3", "tiffinfo": {292: 1}}, {"compression": "group4", "strip_size": 1_900, "big_tiff": True},
    {"compression": "group4", "tiffinfo": {262: 0}}], ids=str)  # fmt: skip
def test_fax_pictures_are_whole_or_refused(options: dict[str, object]) -> None:
    picture = Image.fromarray(np.random.default_rng(2).random((100, 300)) < 0.3)
    whole = encode(picture, "TIFF", **options)
    np.testing.assert_array_equal(decode(whole, name="x")[..., 0] > 0, np.asarray(picture))
    with Image.open(io.BytesIO(whole)) as image:
        start, size = image.tag_v2[273][-1], image.tag_v2[279][-1]
    refused = 0
    for share in range(1, 20):  # of the data, before zeros take their place
        kept = size * share // 20
        cut = whole[: start + kept] + bytes(size - kept) + whole[start + size :]
        try:
            decode(cut, name="x")
        except DataError as error:
            assert "the TIFF is cut short: its data do not cover" in str(error) or "the file is damaged" in str(error)
            refused += 1
            with pytest.raises(DataError, match=r"cut short|damaged"):
                to_pixels(Image.open(io.BytesIO(cut)), name="x")
    assert refused >= 17  # see `fax_probes`


@pytest.mark.parametrize("size", [(1, 1), (7, 90), (300, 3)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_whole_fax_pictures_are_never_refused(compression: str, level: float, size: tuple[int, int]) -> None:
    picture = Image.fromarray(np.random.default_rng(3).random(size) < level)
    pixels = decode(encode(picture, "TIFF", compression=compression), name="x")
    np.testing.assert_array_equal(pixels[..., 0] > 0, np.asarray(picture))
