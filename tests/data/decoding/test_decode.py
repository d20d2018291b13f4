"""decode: one rule for every kind of photo, and one error for every kind of damage."""

import io
import re
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from allmlp.data import decode
from allmlp.errors import DataError

RNG = np.random.default_rng(20210504)
# Flat 8 x 8 tiles: lossy formats keep them nearly, and every orientation of them is another picture.
TILES = np.kron(RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
PHOTO = Image.fromarray(TILES)
ORIENTATION = 0x0112


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, bits: int, colour: int, rows: bytes = b"", extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + data


def png_with_chunk(kind: bytes, content: bytes) -> bytes:
    whole = encode(PHOTO, "PNG")
    return whole[:33] + png_chunk(kind, content) + whole[33:]


def patched_frame_header(jpeg: bytes, *, height: int, width: int, marker: int | None = None, bits: int = 8) -> bytes:
    start = jpeg.index(b"\xff\xc0")
    header = bytes([0xFF, marker or 0xC0]) + jpeg[start + 2 : start + 4] + struct.pack(">BHH", bits, height, width)
    return jpeg[:start] + header + jpeg[start + 9 :]


def refusal(content: bytes, name: str = "some/photo.jpg") -> str:
    with pytest.raises(DataError) as caught:
        decode(content, name=name)
    message = str(caught.value)
    assert message.startswith(name)
    assert "\n" not in message
    return message


ENCODINGS = {
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "lzw tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "deflate tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "jpeg tiff": ("TIFF", {"compression": "jpeg"}),
}


@pytest.mark.parametrize(("kind", "options"), ENCODINGS.values(), ids=ENCODINGS)
def test_every_format_decodes_to_the_pixels_that_pillow_reads(kind: str, options: dict[str, object]) -> None:
    content = encode(PHOTO, kind, **options)
    photo = decode(content, name="x")
    assert photo.dtype == np.uint8
    assert photo.flags.c_contiguous
    assert photo.flags.writeable
    np.testing.assert_array_equal(photo, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))


@pytest.mark.parametrize(("kind", "options"), ENCODINGS.values(), ids=ENCODINGS)
def test_a_photo_cut_anywhere_is_refused_or_whole(kind: str, options: dict[str, object]) -> None:
    # A tail without pixels (PNG's IEND, GIF's trailer) may be missing; a cut photo that is half gray may never pass.
    content = encode(PHOTO.resize((24, 16)), kind, **options)
    whole = decode(content, name="x")
    num_accepted = 0
    for length in range(len(content)):
        try:
            photo = decode(content[:length], name="x")
        except DataError:
            continue
        num_accepted += 1
        np.testing.assert_array_equal(photo, whole)
    assert num_accepted <= 22


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ENCODINGS)), st.data())
def test_random_damage_gives_pixels_or_a_data_error(encoding: str, data: st.DataObject) -> None:
    kind, options = ENCODINGS[encoding]
    content = bytearray(encode(PHOTO.resize((24, 16)), kind, **options))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = decode(bytes(content), name="x")
    except DataError:
        return
    assert photo.dtype == np.uint8
    assert photo.ndim == 3


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"])
)
def test_noise_is_a_data_error(noise: bytes, start: bytes) -> None:
    with pytest.raises(DataError):
        decode(start + noise, name="x")


def test_a_truncated_photo_stays_refused_at_half_and_without_its_last_bytes() -> None:
    jpeg = encode(PHOTO, "JPEG", quality=95)
    assert "cut short" in refusal(jpeg[: len(jpeg) // 2])
    assert "cut short" in refusal(jpeg[:-200])
    assert "end-of-image marker is missing" in refusal(jpeg[:-2])
    assert "cut short" in refusal(jpeg[:100])
    # Filled up with zeros after a broken download: Pillow would show gray.
    assert "cut short" in refusal(jpeg[: len(jpeg) // 2] + bytes(len(jpeg) // 2))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b'\n {"error": 404}', "JSON text"),
        (b"\xff\xd8", "an unknown kind of file"),
        (b"\xff\xd8\xff", "cut short"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"icns\0\0\0\x10", "an icon file"),
        (b"SIMPLE  =  T", "a FITS file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF image"),
        (b"\xff\x0a\xfa\x7f", "a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "an unknown kind of file"),
    ],
)
def test_what_is_no_photo_is_named_for_what_it_is(content: bytes, reason: str) -> None:
    assert reason in refusal(content)


def test_formats_outside_the_list_are_refused_though_pillow_reads_them() -> None:
    for kind in ("ICO", "PPM", "TGA", "PCX", "JPEG2000", "ICNS"):
        assert "not a photo that can be decoded" in refusal(encode(PHOTO, kind))


@pytest.mark.parametrize(
    ("marker", "bits", "reason"),
    [(0xC9, 8, "arithmetic-coded"), (0xC3, 8, "lossless"), (0xC5, 8, "hierarchical"), (0xC1, 12, "12-bit")],
)
def test_kinds_of_jpeg_that_cannot_be_decoded_are_named(marker: int, bits: int, reason: str) -> None:
    jpeg = patched_frame_header(encode(PHOTO, "JPEG"), height=48, width=72, marker=marker, bits=bits)
    assert reason in refusal(jpeg)


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
    solid = png(10_000, 10_000, bits=8, colour=0, rows=bytes(10_001 * 10_000))
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


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_the_emptiest_honest_jpeg_passes_the_floor(subsampling: str) -> None:
    image = Image.new("RGB", (3_000, 2_000), "white")
    content = encode(image, "JPEG", quality=1, optimize=True, progressive=True, subsampling=subsampling)
    assert decode(content, name="x").shape == (2_000, 3_000, 3)
    gray = encode(image.convert("L"), "JPEG", quality=1, optimize=True, progressive=True)
    assert decode(gray, name="x").shape == (2_000, 3_000, 3)


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
    bomb = jpeg[:2] + segment * 3_000_000 + jpeg[2:]
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
    bomb = whole[:33] + png_chunk(b"IDAT", b"") * 2_000_000 + whole[33:]
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
    assert decode(tiled_tiff(100, 1_600), name="x").shape == (100, 100, 3)
    bomb = tiled_tiff(100, 16_000)  # 256 MB in a quarter of a megabyte
    start = time.process_time()
    assert "its tiles have 16000 x 16000 pixels; the limit is 50,000,000" in refusal(bomb)
    assert time.process_time() - start < 0.05


def test_png_text_that_unpacks_to_megabytes_is_refused_within_bounds() -> None:
    bomb = zlib.compress(bytes(64 * 2**20), 9)
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
    assert "tRNS" in refusal(bytes(damaged))


@pytest.mark.parametrize("profile", [b"name\0\0" + zlib.compress(bytes(64 * 2**20), 9), b"name\0\x07broken", b""])
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


def test_content_decides_and_trailing_bytes_do_not_matter() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        content = encode(PHOTO, kind)
        tail = b"PK\x03\x04<script>" + bytes(1_000_000)
        np.testing.assert_array_equal(decode(content + tail, name="x.txt"), decode(content, name="x"))


def test_the_first_frame_of_animations_and_pages_is_taken() -> None:
    others = [ImageOps.invert(PHOTO), PHOTO.rotate(180)]
    for kind, options in [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {}), ("MPO", {})]:
        single = decode(encode(PHOTO, "JPEG" if kind == "MPO" else kind, **options), name="x")
        content = encode(PHOTO, kind, save_all=True, append_images=others, **options)
        np.testing.assert_array_equal(decode(content, name="x"), single, err_msg=kind)


def test_a_hundred_thousand_frames_cost_no_more_than_one() -> None:
    frame = encode(Image.new("L", (8, 8)), "GIF")
    body = frame[frame.index(b"\x2c") : -1]
    content = frame[:-1] + body * 100_000 + b";"
    start = time.process_time()
    assert decode(content, name="x").shape == (8, 8, 3)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 4_000), (65_535, 1), (3, 1)])
def test_odd_shapes_keep_height_width_channels(size: tuple[int, int]) -> None:
    assert decode(encode(Image.new("RGB", size), "PNG"), name="x").shape == (size[1], size[0], 3)


def test_transparency_lies_on_white() -> None:
    red = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    red.putpixel((1, 0), (255, 0, 0, 128))
    expected = [[[255, 255, 255], [255, 127, 127]]]  # 255 * (1 - 128 / 255) = 127
    for kind, options in [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})]:
        assert decode(encode(red, kind, **options), name="x").tolist() == expected, kind
    gray_alpha = Image.new("LA", (2, 1), (10, 0))
    gray_alpha.putpixel((1, 0), (10, 255))
    assert decode(encode(gray_alpha, "PNG"), name="x").tolist() == [[[255] * 3, [10] * 3]]


def test_transparent_palette_entries_and_colours_lie_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    expected = [[[255, 255, 255], [0, 0, 255]]]
    assert decode(encode(palette, "PNG", transparency=0), name="x").tolist() == expected
    assert decode(encode(palette, "GIF", transparency=0), name="x").tolist() == expected
    assert decode(encode(palette, "PNG", transparency=b"\x00\xff"), name="x").tolist() == expected
    rgb = Image.fromarray(np.array([[[9, 8, 7], [0, 0, 255]]], np.uint8))
    assert decode(encode(rgb, "PNG", transparency=(9, 8, 7)), name="x").tolist() == expected
    gray = Image.fromarray(np.array([[9, 10]], np.uint8))
    assert decode(encode(gray, "PNG", transparency=9), name="x").tolist() == [[[255] * 3, [10] * 3]]


def test_one_bit_gray_and_palette_images_become_rgb() -> None:
    gray = Image.fromarray(np.array([[0, 100, 255]], np.uint8))
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        assert decode(encode(gray, kind), name="x").tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    bits = gray.convert("1", dither=Image.Dither.NONE)
    for kind in ("PNG", "TIFF", "BMP"):
        assert decode(encode(bits, kind), name="x").tolist() == [[[0] * 3, [0] * 3, [255] * 3]]


def test_sixteen_bits_are_scaled_alike_in_gray_and_colour() -> None:
    values = np.array([0, 255, 640, 32_768, 65_535], np.uint16)
    expected = [[[v] * 3 for v in (0, 0, 2, 128, 255)]]
    big_endian = values.astype(">u2")
    gray = png(5, 1, bits=16, colour=0, rows=b"\0" + big_endian.tobytes())
    colour = png(5, 1, bits=16, colour=2, rows=b"\0" + np.repeat(big_endian, 3).tobytes())
    opaque = np.stack([big_endian, np.full(5, 65_535)], axis=1).astype(">u2")
    gray_alpha = png(5, 1, bits=16, colour=4, rows=b"\0" + opaque.tobytes())
    tiff = encode(Image.fromarray(values[None]), "TIFF")
    for content in (gray, colour, gray_alpha, tiff):
        assert decode(content, name="x").tolist() == expected


def test_the_transparent_level_of_a_sixteen_bit_png_is_white() -> None:
    rows = b"\0" + np.array([640, 641], ">u2").tobytes()
    content = png(2, 1, bits=16, colour=0, rows=rows, extra=png_chunk(b"tRNS", struct.pack(">H", 640)))
    assert decode(content, name="x").tolist() == [[[255] * 3, [2] * 3]]


def test_inverted_and_twelve_bit_gray_tiffs_keep_their_meaning() -> None:
    inverted = encode(Image.fromarray(np.array([[0, 65_535]], np.uint16)), "TIFF", tiffinfo={262: 0})
    assert decode(inverted, name="x").tolist() == [[[255] * 3, [0] * 3]]
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[256], directory[257], directory[258], directory[259], directory[262] = 2, 1, (12,), 1, 1
    directory[273], directory[277], directory[278], directory[279] = 0, 1, 1, 3  # the strip follows the directory
    file = io.BytesIO()
    file.write(b"II*\0\x08\0\0\0")
    directory.save(file)
    file.write((0xFFF << 12 | 0x800).to_bytes(3, "big"))  # 4095 and 2048
    assert decode(file.getvalue(), name="x").tolist() == [[[255] * 3, [128] * 3]]


@pytest.mark.parametrize("values", [[[0.5, 0.25]], [[-1.0, 700.0]], [[float("nan"), 0.0]]])
def test_samples_without_a_declared_range_are_refused(values: list[list[float]]) -> None:
    assert "range" in refusal(encode(Image.fromarray(np.array(values, np.float32)), "TIFF"))
    assert "range" in refusal(encode(Image.fromarray(np.array([[70_000, -3]], np.int32)), "TIFF"))


def test_cmyk_becomes_rgb_by_one_rule() -> None:
    # Ink solid or absent: any sane conversion agrees to within JPEG's loss.
    inks = {
        (255, 0, 0, 0): (0, 255, 255),
        (0, 255, 0, 0): (255, 0, 255),
        (0, 0, 0, 255): (0, 0, 0),
        (0,) * 4: (255,) * 3,
    }
    for ink, colour in inks.items():
        image = Image.new("CMYK", (16, 16), ink)
        for content in (encode(image, "JPEG", quality=100), encode(image, "TIFF")):
            photo = decode(content, name="x")
            assert np.abs(photo.astype(int) - colour).max() <= 2
    adobe = encode(Image.merge("CMYK", [*PHOTO.split(), Image.new("L", PHOTO.size)]), "JPEG", quality=100)
    reference = np.asarray(Image.open(io.BytesIO(adobe)).convert("RGB"))
    np.testing.assert_array_equal(decode(adobe, name="x"), reference)


def test_lab_and_ycbcr_tiffs_become_rgb() -> None:
    black = Image.new("LAB", (1, 1), (0, 128, 128))
    white = Image.new("LAB", (1, 1), (255, 128, 128))
    assert decode(encode(black, "TIFF"), name="x").max() <= 1  # of 8-bit rounding in Lab
    assert decode(encode(white, "TIFF"), name="x").min() >= 254
    ycbcr = encode(PHOTO.convert("YCbCr"), "TIFF")
    assert np.abs(decode(ycbcr, name="x").astype(int) - TILES).max() <= 3


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


def test_names_in_errors_cannot_forge_lines_or_direction() -> None:
    with pytest.raises(DataError) as caught:
        decode(b"", name="a\nb\u202egnp\udcff.jpg")
    assert str(caught.value).startswith("a\\nb\\u202egnp\\udcff.jpg: ")


def test_many_threads_decode_alike() -> None:
    contents = [encode(PHOTO, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]
    expected = [decode(content, name="x") for content in contents]
    failures: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(20):
                for content, photo in zip(contents, expected, strict=True):
                    np.testing.assert_array_equal(decode(content, name="x"), photo)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_thousands_of_broken_photos_leave_no_memory_behind() -> None:
    jpeg = encode(PHOTO, "JPEG", quality=95)

    def decode_broken(count: int) -> None:
        for index in range(count):
            cut = jpeg[: 300 + index % (len(jpeg) - 400)]
            with pytest.raises(DataError):
                decode(cut + b"\xff\xd9", name="x") if index % 2 else decode(cut, name="x")
                raise DataError("decoded what libjpeg could repair")

    decode_broken(200)
    tracemalloc.start()
    try:
        decode_broken(200)
        before = tracemalloc.get_traced_memory()[0]
        decode_broken(2_000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100_000


def test_importing_data_changes_no_setting_of_pillow_and_loads_neither_torch_nor_pyarrow() -> None:
    program = (
        "import sys; from PIL import Image, ImageFile, PngImagePlugin\n"
        "seen = lambda: (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK)\n"
        "before = seen(); import allmlp.data; assert seen() == before\n"
        "print(sorted({'torch', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert PngImagePlugin.MAX_TEXT_CHUNK
