"""Headers of photos: limits, damage and hostile chunks, all before pixels are allocated."""

import io
import re
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin
from tests.data.decoding.encoded import (
    ORIENTATION,
    PHOTO,
    TILES,
    encode,
    patched_frame_header,
    png,
    png_chunk,
    png_with_chunk,
    refusal,
)

from allmlp.data import decode


def test_headers_beyond_the_limits_are_refused_before_pixels_are_allocated() -> None:
    jpeg = encode(PHOTO, "JPEG")
    webp = bytearray(encode(PHOTO, "WEBP", lossless=True))
    webp[21:25] = (0x3FFF | 0x3FFF << 14).to_bytes(4, "little")
    gif = bytearray(encode(PHOTO, "GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    bmp = bytearray(encode(PHOTO, "BMP"))
    bmp[18:26] = struct.pack("<ii", 30_000, 30_000)
    tiff = TiffImagePlugin.ImageFileDirectory_v2()
    tiff[256], tiff[257], tiff[258], tiff[259], tiff[262] = 30_000, 30_000, (8,), 1, 1
    tiff[273], tiff[277], tiff[278], tiff[279] = 8, 1, 30_000, 900_000_000
    tiff_file = io.BytesIO()
    tiff_file.write(b"II*\0\x08\0\0\0")
    tiff.save(tiff_file)
    solid = png(7_100, 7_100, bits=8, colour=0, rows=bytes(7_101 * 7_100))
    hostile = {
        "jpeg 65500": patched_frame_header(jpeg, height=65_500, width=65_500),
        "jpeg 9000": patched_frame_header(jpeg, height=9_000, width=9_000),
        "png header": png(20_000, 20_000, bits=8, colour=2),
        "png solid": solid,
        "png side": png(70_000, 1, bits=8, colour=0, rows=bytes(70_001)),
        "webp": bytes(webp),
        "gif": bytes(gif),
        "bmp": bytes(bmp),
        "tiff": tiff_file.getvalue(),
    }
    tracemalloc.start()
    try:
        for name, content in hostile.items():
            assert re.search("the limit is|cut short or forged", refusal(content, name))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("size", [(0, 0), (0, 10), (10, 0)])
def test_photos_without_pixels_are_refused(size: tuple[int, int]) -> None:
    width, height = size
    refusal(png(width, height, bits=8, colour=2))
    refusal(patched_frame_header(encode(PHOTO, "JPEG"), height=height, width=width))


def test_a_jpeg_of_too_few_bytes_for_its_size_is_refused() -> None:
    forged = patched_frame_header(encode(PHOTO, "JPEG"), height=7_000, width=7_000)
    assert "cut short or forged" in refusal(forged)


@pytest.mark.parametrize(("mode", "subsampling"), [("RGB", "4:4:4"), ("RGB", "4:2:0"), ("L", "4:4:4")])
def test_the_emptiest_honest_jpeg_passes_the_floor(mode: str, subsampling: str) -> None:
    image = Image.new(mode, (3_000, 2_000), "white")
    content = encode(image, "JPEG", quality=1, optimize=True, progressive=True, subsampling=subsampling)
    assert decode(content, name="x").shape == (2_000, 3_000, 3)


@pytest.mark.parametrize("num_scans", [1_000, 80_000])
def test_a_jpeg_of_thousands_of_scans_is_refused_at_once(num_scans: int) -> None:
    jpeg = encode(PHOTO, "JPEG", progressive=True)
    last_scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    bomb = jpeg[:-2] + last_scan * num_scans + b"\xff\xd9"
    start = time.process_time()
    assert "scans" in refusal(bomb)
    assert time.process_time() - start < 0.05


@pytest.mark.parametrize("segment", [b"\xff\xe0\0\2", b"\xff\xfe\0\2", b"\xff\xd0"], ids=["JFIF", "comment", "restart"])
def test_a_jpeg_of_millions_of_empty_segments_is_refused_at_once(segment: bytes) -> None:
    jpeg = encode(PHOTO, "JPEG")
    bomb = jpeg[:2] + segment * 1_000_000 + jpeg[2:]
    tracemalloc.start()
    try:
        assert "the JPEG has more than 10,000 segments" in refusal(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    start = time.process_time()
    refusal(bomb)
    assert time.process_time() - start < 0.05


def test_full_segments_up_to_the_limit_of_a_file_and_fill_bytes_are_passed_over() -> None:
    jpeg = encode(PHOTO, "JPEG")
    comments = (b"\xff\xfe\xff\xff" + bytes(65_533)) * 2_900
    content = jpeg[:2] + comments + b"\xff" * 9_000_000 + jpeg[2:]
    start = time.process_time()
    photo = decode(content, name="x")
    assert time.process_time() - start < 0.5  # where each byte takes a step of Python, over a second
    np.testing.assert_array_equal(photo, decode(jpeg, name="x"))


def test_a_png_of_millions_of_chunks_is_refused_at_once() -> None:
    whole = encode(PHOTO, "PNG")
    bomb = whole[:33] + png_chunk(b"IDAT", b"") * 1_000_000 + whole[33:]
    start = time.process_time()
    assert "the PNG has more than 100,000 chunks" in refusal(bomb)
    assert time.process_time() - start < 0.2


def tiled_tiff(side: int, tile_side: int) -> bytes:
    """Return a deflated gray TIFF of zeros in one tile, of which the photo is the upper left corner."""
    packer = zlib.compressobj(9)
    pixels = b"".join([*(packer.compress(bytes(tile_side)) for _ in range(tile_side)), packer.flush()])
    values = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile_side, 323: tile_side, 324: 134}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in {**values, 325: len(pixels)}.items()]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + pixels


def test_a_tiff_of_one_giant_tile_is_refused_before_it_is_unpacked() -> None:
    assert decode(tiled_tiff(100, 800), name="x").shape == (100, 100, 3)
    bomb = tiled_tiff(100, 8_000)  # 64 MB in 64 kB
    start = time.process_time()
    assert "its tiles have 8000 x 8000 pixels; the limit is 50,000,000" in refusal(bomb)
    assert time.process_time() - start < 0.05


def test_png_text_that_unpacks_to_megabytes_is_refused_within_bounds() -> None:
    bomb = zlib.compress(bytes(32 * 2**20), 9)
    tracemalloc.start()
    try:
        refusal(png_with_chunk(b"zTXt", b"Comment\0\0" + bomb))
        refusal(png_with_chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"tIME", b"gAMA"])
def test_damage_in_what_decides_no_pixel_of_a_png_is_ignored(kind: bytes) -> None:
    damaged = png_with_chunk(kind, b"Comment\0\0text")
    place = damaged.index(b"Comment")
    damaged = damaged[:place] + b"X" + damaged[place + 1 :]  # its CRC is wrong now
    np.testing.assert_array_equal(decode(damaged, name="x"), TILES)


def test_damage_in_the_transparent_colour_of_a_png_is_refused() -> None:
    damaged = bytearray(png_with_chunk(b"tRNS", bytes(6)))
    damaged[damaged.index(b"tRNS") + 4] ^= 1
    assert "the file is damaged" in refusal(bytes(damaged))


@pytest.mark.parametrize("profile", [b"name\0\0" + zlib.compress(bytes(8 * 2**20), 9), b"name\0\x07broken", b""])
def test_colour_profiles_of_a_png_are_ignored_however_broken(profile: bytes) -> None:
    np.testing.assert_array_equal(decode(png_with_chunk(b"iCCP", profile), name="x"), TILES)


def test_colour_profiles_of_a_jpeg_are_ignored() -> None:
    plain = decode(encode(PHOTO, "JPEG"), name="x")
    valid = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"broken", valid, bytes(4_000_000)):
        np.testing.assert_array_equal(decode(encode(PHOTO, "JPEG", icc_profile=profile), name="x"), plain)


def test_damaged_png_chunks_are_refused_but_a_missing_end_is_not() -> None:
    whole = encode(PHOTO, "PNG")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    refusal(bytes(flipped))
    wrong_crc = bytearray(whole)
    wrong_crc[30] ^= 1
    refusal(bytes(wrong_crc))
    refusal(whole[: len(whole) // 2])
    np.testing.assert_array_equal(decode(whole[:-12], name="x"), TILES)


@pytest.mark.parametrize(
    ("marker", "bits", "reason"),
    [(0xC9, 8, "arithmetic-coded"), (0xC3, 8, "lossless"), (0xC5, 8, "hierarchical"), (0xC1, 12, "12-bit")],
)
def test_kinds_of_jpeg_that_cannot_be_decoded_are_named(marker: int, bits: int, reason: str) -> None:
    jpeg = patched_frame_header(encode(PHOTO, "JPEG"), height=48, width=72, marker=marker, bits=bits)
    assert reason in refusal(jpeg)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_as_pillow_does(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encode(PHOTO, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    photo = decode(content, name="x")
    np.testing.assert_array_equal(photo, np.asarray(upright))
    assert (photo.shape[0] > photo.shape[1]) == (orientation >= 5)


def exif_block(entries: list[tuple[int, int, int, int]], *, count: int | None = None) -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries) if count is None else count) + body


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0garbage without any meaning",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif_block([(ORIENTATION, 3, 1, 99)]),
        exif_block([(ORIENTATION, 3, 1, 0)]),
        exif_block([(ORIENTATION, 2, 7, 6)]),
        exif_block([(ORIENTATION, 99, 1, 6)]),
        exif_block([(0x8769, 4, 1, 8), (0x8825, 4, 1, 8)]),  # sub-directories that are the directory itself
        exif_block([(0x0100, 3, 1, 1)], count=60_000),
    ],
)
def test_broken_exif_is_ignored(exif: bytes) -> None:
    plain = decode(encode(PHOTO, "JPEG"), name="x")
    np.testing.assert_array_equal(decode(encode(PHOTO, "JPEG", exif=exif), name="x"), plain)
    np.testing.assert_array_equal(decode(png_with_chunk(b"eXIf", exif), name="x"), TILES)


def test_a_doubled_exif_header_is_understood() -> None:
    content = encode(PHOTO, "JPEG", exif=b"Exif\0\0" + exif_block([(ORIENTATION, 3, 1, 6)]))
    assert decode(content, name="x").shape == (72, 48, 3)
