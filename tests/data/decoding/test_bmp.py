"""BMP files: alpha that is zero everywhere, and run lengths that would take minutes."""

import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.data.decoding.encoded import refusal

from allmlp.data import decode, to_pixels

CASE = Path(__file__).parents[2] / "cases" / "photos" / "bmp32_alpha_all_zero.bmp"


def run_length_bmp(width: int, height: int, runs: bytes) -> bytes:
    palette = b"".join(struct.pack("<I", level * 0x010101) for level in range(256))
    start = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + palette + runs


def test_alpha_that_is_zero_everywhere_is_none() -> None:
    photo = decode(CASE.read_bytes(), name="x")
    red = Image.open(CASE).convert("RGB")  # drops alpha
    np.testing.assert_array_equal(photo, np.asarray(red))
    with Image.open(CASE) as image:
        np.testing.assert_array_equal(to_pixels(image, name="x"), photo)
    partly = bytearray(CASE.read_bytes())
    partly[-1] = 255  # one opaque pixel: now the alpha is meant
    assert (decode(bytes(partly), name="x") == 255).all(axis=2).sum() == photo.shape[0] * photo.shape[1] - 1


def test_run_lengths_are_read_if_they_cover_the_picture() -> None:
    whole = run_length_bmp(8, 2, b"\x08\x05\0\0\x08\x07\0\x01")
    assert decode(whole, name="x")[:, 0, 0].tolist() == [7, 5]
    assert "damaged" in refusal(run_length_bmp(8, 2, b"\x08\x05\0\0\x03\x07\0\x01"))


@pytest.mark.parametrize(
    ("size", "runs"),
    [((6_000, 6_000), b"\x01\x05\0\0" * 6_000), ((1_999, 2_000), b"\x01\x05" * 600_000), ((4_001, 1_000), b"\0\0" * 9)],
)
def test_run_lengths_that_would_take_long_are_refused_at_once(size: tuple[int, int], runs: bytes) -> None:
    start = time.process_time()
    assert "run-length encoded BMP" in refusal(run_length_bmp(*size, runs))
    assert time.process_time() - start < 0.1


def masked_bmp(*masks: int, header: int = 108, compression: int = 3, bits: int = 32) -> bytes:
    pixels = bytes(range(32))
    info = struct.pack("<IiiHHIIiiII", header, 4, 2, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    info += struct.pack("<4I", *masks)
    info += bytes(max(0, header - len(info)))
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(pixels), 0, 0, 14 + len(info)) + info + pixels


MASKS = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize("order", [MASKS, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)], ids=["BGRA", "RGBA"])
def test_stored_alpha_is_composited_on_white(header: int, order: tuple[int, ...]) -> None:
    stored = np.frombuffer(bytes(range(32)), np.uint8).reshape(2, 4, 4)[::-1].astype(float)
    colour, alpha = stored[..., :3] if order[0] == 0xFF else stored[..., 2::-1], stored[..., 3:] / 255
    expected = colour * alpha + 255 * (1 - alpha)
    photo = decode(masked_bmp(*order, header=header), name="x")
    np.testing.assert_allclose(photo, expected, atol=1)


def test_a_fourth_byte_that_is_no_alpha_is_ignored() -> None:
    photo = decode(masked_bmp(*MASKS[:3], 0), name="x")
    np.testing.assert_array_equal(photo, decode(masked_bmp(*MASKS, compression=0), name="x"))
    assert photo[1, 0].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "options", [{"compression": 6}, {"compression": 4}, {"bits": 3}, {"masks": (0xFF00, 0xFF, 0xFF0000, 0)}], ids=str
)
def test_a_variant_that_is_not_read_is_not_only_called_damaged(options: dict[str, Any]) -> None:
    message = refusal(masked_bmp(*options.pop("masks", MASKS), **options))
    assert "the file is damaged, or of a variant of its format that is not read" in message
