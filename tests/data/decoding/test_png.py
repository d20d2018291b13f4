"""PNG files: all rows of the picture are there, or the file is refused."""

import struct
import zlib

import numpy as np
import pytest
from tests.data.decoding.encoded import PHOTO, TILES, encode, png, png_chunk, refusal

from allmlp.data import decode


def interlaced(rows: bytes, width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    data = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + data


@pytest.mark.parametrize(("bits", "colour", "row"), [(8, 2, 31), (1, 0, 3), (16, 6, 81), (4, 3, 6), (8, 4, 21)])
def test_fewer_rows_than_declared_are_refused(bits: int, colour: int, row: int) -> None:
    palette = png_chunk(b"PLTE", bytes(48)) if colour == 3 else b""
    whole = png(10, 9, bits=bits, colour=colour, rows=bytes(9 * row), extra=palette)
    assert decode(whole, name="x").shape == (9, 10, 3)
    for num_missing in (1, row, 4 * row, 9 * row):
        cut = png(10, 9, bits=bits, colour=colour, rows=bytes(9 * row - num_missing), extra=palette)
        assert "do not cover all rows" in refusal(cut)


@pytest.mark.parametrize("size", [(1, 1), (9, 11), (3, 2), (64, 1)])
def test_passes_that_an_interlaced_png_lacks_are_noticed(size: tuple[int, int]) -> None:
    width, height = size
    # From the specification: the rows of each pass, each preceded by its filter.
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    columns_and_rows = [(len(range(x, width, dx)), len(range(y, height, dy))) for x, y, dx, dy in passes]
    num_bytes = sum(rows * (columns + 1) for columns, rows in columns_and_rows if columns)
    assert decode(interlaced(bytes(num_bytes), width, height), name="x").shape == (height, width, 3)
    assert "do not cover all rows" in refusal(interlaced(bytes(num_bytes - 1), width, height))
    assert "do not cover all rows" in refusal(interlaced(bytes(num_bytes // 2), width, height))


@pytest.mark.parametrize(("bits", "colour"), [(16, 6), (16, 2), (8, 6)])
def test_a_small_file_of_hundreds_of_megabytes_is_refused_before_it_is_unpacked(bits: int, colour: int) -> None:
    side = 7_070 if bits == 16 else 7_071  # of 8 bits, just below 200 MB
    claim = refusal(png(side, side, bits=bits, colour=colour, rows=bytes(1_000)))
    assert ("unpack to" in claim) == (bits == 16)
    assert ("do not cover all rows" in claim) == (bits == 8)


def test_a_large_file_of_hundreds_of_megabytes_is_unpacked() -> None:
    noise = png_chunk(b"IDAT", np.random.default_rng(0).bytes(4_000_000))
    assert "damaged" in refusal(png(7_070, 7_070, bits=16, colour=6, extra=noise))


def test_more_data_than_rows_and_a_wrong_checksum_after_them_do_not_matter() -> None:
    assert decode(png(10, 9, bits=8, colour=0, rows=bytes(200)), name="x").shape == (9, 10, 3)
    np.testing.assert_array_equal(decode(encode(PHOTO, "PNG"), name="x"), TILES)


def test_the_variant_of_apple_is_named() -> None:
    whole = encode(PHOTO, "PNG")
    assert "Apple's variant of PNG" in refusal(whole[:8] + png_chunk(b"CgBI", b"\x50\0\x20\2") + whole[8:])
